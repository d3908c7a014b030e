/* bus.c -- the workers' mailboxes, their rooms and endpoints. See bus.h. bus_send.c sends. */
#include "core/bus/bus_parts.h"

#include "base/log/log.h"
#include "base/mem.h"

#include <stddef.h>
#include <string.h>
#include <uv.h>

/* Bytes of one mailbox. At half of them the log says that its worker does not keep up. */
enum { MAIL_MAX_BYTES = 64 * 1024 * 1024 };

/* ---- life ---- */

struct bus *bus_new(void) {
    struct bus *bus = mem_zalloc(sizeof *bus);
    uv_mutex_init(&bus->lock);
    for (unsigned i = 0; i < BUS_MAX_WORKERS; i++) {
        mailbox_init(&bus->workers[i].box);
        uv_mutex_init(&bus->workers[i].wake.lock);
    }
    uv_mutex_init(&bus->link_wake.lock);
    bus->mail_max = MAIL_MAX_BYTES;
    bus->refusals = refusals_new();
    bus->sessions = sessions_new();
    atomic_init(&bus->backlog_max, INT64_MAX);
    room_memory_init(&bus->memory);
    atomic_init(&bus->sweep_at, UINT64_MAX);
    bus_set_workers(bus, 1);
    return bus;
}

void bus_free(struct bus *bus) {
    if (bus == NULL)
        return;
    for (unsigned i = 0; i < BUS_MAX_WORKERS; i++) {
        mem_free(bus->workers[i].conns);
        uv_mutex_destroy(&bus->workers[i].wake.lock);
    }
    if (bus->link != NULL)
        link_end(bus->link);
    mem_free(bus->link);
    uv_mutex_destroy(&bus->link_wake.lock);
    for (uint32_t i = 0; i < bus->endpoint_count; i++) {
        if (bus->endpoints[i] != NULL)
            mem_free(bus->endpoints[i]->path);
        mem_free(bus->endpoints[i]);
    }
    mem_free(bus->endpoints);
    endpoint_counts_clear(&bus->counts);
    directory_close(&bus->directory);
    room_memory_close(&bus->memory);
    remote_members_close(&bus->remote);
    refusals_free(bus->refusals);
    sessions_free(bus->sessions);
    uv_mutex_destroy(&bus->lock);
    mem_free(bus);
}

void bus_set_workers(struct bus *bus, unsigned count) {
    uv_mutex_lock(&bus->lock);
    bus->directory.workers = count;
    atomic_store(&bus->worker_count, count);
    atomic_store(&bus->is_alone, count == 1 && bus->link == NULL);
    uv_mutex_unlock(&bus->lock);
}

bool bus_is_alone(const struct bus *bus) {
    return atomic_load_explicit(&bus->is_alone, memory_order_relaxed);
}

void bus_set_mail_max(struct bus *bus, size_t bytes) {
    uv_mutex_lock(&bus->lock);
    bus->mail_max = bytes;
    uv_mutex_unlock(&bus->lock);
}

unsigned bus_workers(const struct bus *bus) {
    return atomic_load_explicit(&bus->worker_count, memory_order_relaxed);
}

void bus_enter(struct bus *bus, unsigned worker, void (*wake)(void *user), void *user,
               const struct stats *stats) {
    struct bus_worker *entry = &bus->workers[worker];
    uv_mutex_lock(&bus->lock);
    entry->open = true;
    entry->wake.call = wake;
    entry->wake.user = user;
    entry->stats = stats;
    uv_mutex_unlock(&bus->lock);
}

/* ---- mailboxes ---- */

const atomic_bool *bus_mail_flag(const struct bus *bus, unsigned worker) {
    return &bus->workers[worker].has_mail;
}

/* Under the lock. */
struct mail *bus_take(struct bus *bus, unsigned worker) {
    struct bus_worker *entry = &bus->workers[worker];
    struct mail *first = mailbox_take(&entry->box);
    entry->logged_half = entry->logged_full = false;
    atomic_store_explicit(&entry->has_mail, false, memory_order_release);
    return first;
}

struct mail *bus_take_mail(struct bus *bus, unsigned worker) {
    uv_mutex_lock(&bus->lock);
    struct mail *mail = bus_take(bus, worker);
    uv_mutex_unlock(&bus->lock);
    return mail;
}

void bus_leave(struct bus *bus, unsigned worker) {
    struct bus_worker *entry = &bus->workers[worker];
    uv_mutex_lock(&entry->wake.lock);
    entry->wake.call = NULL;
    uv_mutex_unlock(&entry->wake.lock);
    uv_mutex_lock(&bus->lock);
    entry->open = false;
    struct mail *mail = bus_take(bus, worker);
    uv_mutex_unlock(&bus->lock);
    for (struct mail *next; mail != NULL; mail = next) {
        next = mail->next;
        mail_free(mail);
    }
}

/* Under the lock: a mailbox has a new mail. Notes the worker if it must wake, and the log line. */
static void posted(struct bus *bus, unsigned worker, bool was_empty, bool is_full,
                   struct wakeups *wakeups) {
    struct bus_worker *entry = &bus->workers[worker];
    if (was_empty) {
        wakeups->workers[worker / 64] |= (uint64_t)1 << worker % 64;
        atomic_store_explicit(&entry->has_mail, true, memory_order_release);
    }
    bool *logged = is_full ? &entry->logged_full : &entry->logged_half;
    if (*logged || (!is_full && entry->box.bytes <= bus->mail_max / 2) ||
        (!is_full && entry->box.count == 1))
        return;
    *logged = true;
    wakeups->behind = worker;
    wakeups->waiting = entry->box.bytes;
    wakeups->is_full = is_full;
}

bool bus_has_room(const struct bus *bus, unsigned worker, size_t cost) {
    return mailbox_has_room(&bus->workers[worker].box, cost, bus->mail_max);
}

void bus_post(struct bus *bus, unsigned worker, struct mail *mail, struct wakeups *wakeups) {
    struct bus_worker *entry = &bus->workers[worker];
    if (!entry->open)
        mail_free(mail);
    else
        posted(bus, worker, mailbox_push(&entry->box, mail), false, wakeups);
}

void bus_lose(struct bus *bus, unsigned worker, struct mail *mail, struct wakeups *wakeups) {
    struct bus_worker *entry = &bus->workers[worker];
    if (!entry->open)
        mail_free(mail);
    else
        posted(bus, worker, mailbox_lose(&entry->box, mail), true, wakeups);
}

static void log_memory_full(size_t bytes) {
    struct log_line line;
    log_begin(&line, LOG_WARN, "room_memory_full");
    log_int(&line, "bytes", (int64_t)bytes);
    log_str(&line, "why", "limits.room_memory is reached: the largest rooms forget messages");
    log_end(&line);
}

static void call_wake(struct bus_wake *wake) {
    uv_mutex_lock(&wake->lock);
    if (wake->call != NULL)
        wake->call(wake->user);
    uv_mutex_unlock(&wake->lock);
}

void bus_wake(struct bus *bus, const struct wakeups *wakeups) {
    if (wakeups->memory_full > 0)
        log_memory_full(wakeups->memory_full);
    if (wakeups->waiting > 0)
        log_eventf(LOG_WARN, "worker_behind",
                   "worker %u does not take its messages from other workers: %zu bytes wait%s",
                   wakeups->behind, wakeups->waiting,
                   wakeups->is_full ? ", limits.worker_backlog is reached, and what comes for its "
                                      "connections is lost: they are treated as slow clients"
                                    : "");
    for (unsigned i = 0; i < BUS_MAX_WORKERS / 64; i++) {
        for (uint64_t left = wakeups->workers[i]; left != 0; left &= left - 1)
            call_wake(&bus->workers[i * 64 + (unsigned)__builtin_ctzll(left)].wake);
    }
    if (wakeups->link)
        call_wake(&bus->link_wake);
}

/* ---- the memory of all queues ---- */

void bus_set_backlog_max(struct bus *bus, size_t bytes) {
    atomic_store_explicit(&bus->backlog_max, (int64_t)bytes, memory_order_relaxed);
}

int64_t bus_backlog_max(const struct bus *bus) {
    return atomic_load_explicit(&bus->backlog_max, memory_order_relaxed);
}

void bus_backlog(struct bus *bus, struct bus_backlog *out) {
    uint64_t bytes = stats_read(&bus->link_backlog);
    *out = (struct bus_backlog){.max = bus_backlog_max(bus)};
    uv_mutex_lock(&bus->lock);
    for (unsigned i = 0; i < bus_workers(bus); i++) {
        const struct stats *stats = bus->workers[i].stats;
        if (stats == NULL)
            continue;
        bytes += stats_read(&stats->backlog_bytes);
        uint64_t largest = stats_read(&stats->largest_queue);
        if (largest > out->largest) {
            out->largest = largest;
            out->greediest = i;
        }
    }
    uv_mutex_unlock(&bus->lock);
    out->bytes = (int64_t)bytes;
}

void bus_ask_for_room(struct bus *bus, unsigned worker) {
    atomic_store(&bus->workers[worker].must_make_room, true);
    struct wakeups wakeups = {0};
    wakeups.workers[worker / 64] = (uint64_t)1 << worker % 64;
    bus_wake(bus, &wakeups);
}

bool bus_must_make_room(struct bus *bus, unsigned worker) {
    atomic_bool *must = &bus->workers[worker].must_make_room;
    return atomic_load_explicit(must, memory_order_relaxed) && atomic_exchange(must, false);
}

/* ---- rooms ---- */

void bus_post_presence(struct bus *bus, unsigned except, const struct room_entry *entry, conn_id id,
                       enum presence_change change, struct wakeups *wakeups) {
    struct slice room = room_entry_room(entry);
    if (!directory_is_watched(&bus->directory, watched_name(room)))
        return;
    const struct presence presence = {
        .change = change,
        .id = id,
        .room = room,
        .user = bus_user_of(bus, id),
        .endpoint_name = room_entry_name(entry),
        .info = room_entry_info(entry),
    };
    bus_post_change(bus, except, &presence, wakeups);
}

void bus_post_change(struct bus *bus, unsigned except, const struct presence *presence,
                     struct wakeups *wakeups) {
    struct slice watched = watched_name(presence->room);
    for (unsigned other = 0; other < bus_workers(bus); other++) {
        if (other == except || !directory_watches(&bus->directory, other, watched))
            continue;
        if (bus->workers[other].box.bytes / 2 > bus->mail_max) {
            /* the change is lost: that worker's list of members is wrong from now on */
            posted(bus, other, false, true, wakeups);
            continue;
        }
        bus_post(bus, other, mail_new_presence(presence), wakeups);
    }
}

struct mail *bus_join(struct bus *bus, unsigned worker, struct slice room, conn_id id,
                      uint32_t endpoint, const char *name, struct slice info,
                      struct room_entry **entry) {
    struct wakeups wakeups = {0};
    uv_mutex_lock(&bus->lock);
    struct mail *mail = bus_take(bus, worker);
    *entry = directory_join(&bus->directory, worker, room, id, endpoint, name, info);
    bus_post_presence(bus, worker, *entry, id, PRESENCE_JOINED, &wakeups);
    bus_push_member(bus, LINK_JOINED, *entry, id, &wakeups);
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
    return mail;
}

void bus_leave_room(struct bus *bus, unsigned worker, struct room_entry *entry, conn_id id,
                    struct mail **mail) {
    struct wakeups wakeups = {0};
    uv_mutex_lock(&bus->lock);
    if (mail != NULL)
        *mail = bus_take(bus, worker);
    if (is_user_room(room_entry_room(entry)))
        bus_leave_user(bus, entry, id, &wakeups);
    else
        bus_post_presence(bus, mail != NULL ? worker : BUS_MAX_WORKERS, entry, id, PRESENCE_LEFT,
                          &wakeups);
    bus_push_member(bus, LINK_LEFT, entry, id, &wakeups);
    directory_leave(&bus->directory, entry);
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
}

struct room_entry *bus_set_info(struct bus *bus, struct room_entry *entry, conn_id id,
                                struct slice info) {
    struct wakeups wakeups = {0};
    uv_mutex_lock(&bus->lock);
    entry = directory_set_info(entry, info);
    bus_push_member(bus, LINK_CHANGED, entry, id, &wakeups);
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
    return entry;
}

void bus_watch(struct bus *bus, unsigned worker, struct slice room, bool on) {
    struct wakeups wakeups = {0};
    uv_mutex_lock(&bus->lock);
    bool was_watched = directory_is_watched(&bus->directory, room);
    directory_watch(&bus->directory, worker, room, on);
    if (bus->link != NULL && directory_is_watched(&bus->directory, room) != was_watched)
        bus_push_watch(bus, room, on, &wakeups);
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
}

uint32_t bus_room_size(struct bus *bus, struct slice room) {
    uv_mutex_lock(&bus->lock);
    uint32_t size = directory_size(&bus->directory, room) + remote_members_size(&bus->remote, room);
    uv_mutex_unlock(&bus->lock);
    return size;
}

/* For each member, with its user. */
struct member_call {
    struct bus *bus;
    bus_member_fn *f;
    void *user;
};

static void call_for_member(void *user, conn_id id, const char *name, const char *info) {
    const struct member_call *call = user;
    call->f(call->user, id, NULL, name, info, bus_user_of(call->bus, id));
}

static void call_for_remote(void *user, const struct remote_member *member) {
    const struct member_call *call = user;
    if (member->endpoint_name != NULL)
        call->f(call->user, 0, member->id, member->endpoint_name, member->info, member->user);
}

void bus_room_members(struct bus *bus, struct slice room, bus_member_fn *f, void *user) {
    struct member_call call = {bus, f, user};
    uv_mutex_lock(&bus->lock);
    directory_members(&bus->directory, room, call_for_member, &call);
    remote_members_each(&bus->remote, room, call_for_remote, &call);
    uv_mutex_unlock(&bus->lock);
}

/* ---- endpoints ---- */

struct limit *bus_endpoint_limit(struct bus *bus, unsigned worker, uint32_t number,
                                 const char *path, uint32_t max, uint32_t codec) {
    uv_mutex_lock(&bus->lock);
    if (number >= bus->endpoint_count) {
        bus->endpoints = mem_realloc(bus->endpoints, (number + 1) * sizeof *bus->endpoints);
        while (bus->endpoint_count <= number)
            bus->endpoints[bus->endpoint_count++] = NULL;
    }
    struct shared_endpoint *endpoint = bus->endpoints[number];
    if (endpoint == NULL) {
        endpoint = bus->endpoints[number] = mem_zalloc(sizeof *endpoint);
        atomic_init(&endpoint->limit.max, max);
        endpoint->path = mem_strdup(path);
    }
    endpoint->codecs[worker] = codec;
    uv_mutex_unlock(&bus->lock);
    return &endpoint->limit;
}

struct limit *bus_endpoint_waiting(struct bus *bus, uint32_t number) {
    uv_mutex_lock(&bus->lock);
    struct limit *waiting = &bus->endpoints[number]->waiting;
    uv_mutex_unlock(&bus->lock);
    return waiting;
}

bool bus_is_first(struct bus *bus, uint32_t endpoint, enum bus_subject subject) {
    uv_mutex_lock(&bus->lock);
    unsigned *asked = endpoint == BUS_NO_ENDPOINT ? &bus->asked : &bus->endpoints[endpoint]->asked;
    bool is_first = (*asked & subject) == 0;
    *asked |= subject;
    uv_mutex_unlock(&bus->lock);
    return is_first;
}

struct mail *bus_set_codec(struct bus *bus, unsigned worker, uint32_t endpoint, uint32_t codec) {
    uv_mutex_lock(&bus->lock);
    struct mail *mail = bus_take(bus, worker);
    bus->endpoints[endpoint]->codecs[worker] = codec;
    uv_mutex_unlock(&bus->lock);
    return mail;
}

struct refusals *bus_refusals(const struct bus *bus) {
    return bus->refusals;
}

struct sessions *bus_sessions(const struct bus *bus) {
    return bus->sessions;
}

uint64_t bus_connections(struct bus *bus, unsigned worker) {
    uv_mutex_lock(&bus->lock);
    const struct stats *stats = bus->workers[worker].stats;
    uint64_t connections = stats == NULL ? 0 : stats_read(&stats->connections);
    uv_mutex_unlock(&bus->lock);
    return connections;
}

uint64_t bus_lua_memory(struct bus *bus, unsigned worker) {
    uv_mutex_lock(&bus->lock);
    const struct stats *stats = bus->workers[worker].stats;
    uint64_t bytes = stats == NULL ? 0 : stats_read(&stats->lua_memory_bytes);
    uv_mutex_unlock(&bus->lock);
    return bytes;
}

void bus_total(struct bus *bus, struct stats_total *total) {
    *total = (struct stats_total){0};
    uv_mutex_lock(&bus->lock);
    for (unsigned i = 0; i < bus_workers(bus); i++)
        if (bus->workers[i].stats != NULL)
            stats_add_to(total, bus->workers[i].stats);
    total->backlog_bytes += stats_read(&bus->link_backlog);
    uv_mutex_unlock(&bus->lock);
    bus_memory_add_to(bus, total);
    if ((int64_t)total->backlog_bytes < 0) /* the counts were read one after the other */
        total->backlog_bytes = 0;
}
