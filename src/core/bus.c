/* bus.c -- the row of all doors. See bus.h. */
#include "core/bus.h"

#include "base/log.h"
#include "base/mem.h"

#include <stddef.h>
#include <string.h>
#include <uv.h>

/* So many bytes may wait at one door; when half of them do, the log says that its worker does not keep up. */
enum { MAIL_MAX_BYTES = 64 * 1024 * 1024 };

/* A connection in its slot, as others know it. */
struct seat {
    conn_id id; /* 0: nobody */
    uint32_t endpoint;
    bool is_closing; /* another worker has closed it */
};

struct door {
    bool open;
    uint32_t generation; /* of its worker's code; 0: the first */
    struct mailbox box;
    atomic_bool has_mail;
    bool told_half, told_full; /* the log knows that its mailbox is so full */
    struct seat *seats;
    uint32_t seat_count;
    const struct stats *stats;
    uv_mutex_t waking; /* `wake` is called under it, so that bus_leave() can be sure it is not */
    void (*wake)(void *user);
    void *wake_user;
};

struct shared_endpoint {
    struct places places;
    bool asked;                       /* bus_is_first() */
    uint32_t codecs[BUS_MAX_WORKERS]; /* by worker */
};

struct bus {
    uv_mutex_t lock;
    atomic_uint workers;
    size_t mail_max; /* bytes, at each door */
    struct directory directory;
    struct shared_endpoint **endpoints;
    uint32_t endpoint_count;
    struct headcount *everyone; /* connections that are announced */
    struct door doors[BUS_MAX_WORKERS];
};

/* ---- life ---- */

struct bus *bus_new(void) {
    struct bus *bus = mem_zalloc(sizeof *bus);
    uv_mutex_init(&bus->lock);
    for (unsigned i = 0; i < BUS_MAX_WORKERS; i++) {
        mailbox_init(&bus->doors[i].box);
        uv_mutex_init(&bus->doors[i].waking);
    }
    bus->mail_max = MAIL_MAX_BYTES;
    bus_set_workers(bus, 1);
    return bus;
}

void bus_free(struct bus *bus) {
    if (bus == NULL)
        return;
    for (unsigned i = 0; i < BUS_MAX_WORKERS; i++) {
        mem_free(bus->doors[i].seats);
        uv_mutex_destroy(&bus->doors[i].waking);
    }
    for (uint32_t i = 0; i < bus->endpoint_count; i++)
        mem_free(bus->endpoints[i]);
    mem_free(bus->endpoints);
    headcount_clear(&bus->everyone);
    directory_close(&bus->directory);
    uv_mutex_destroy(&bus->lock);
    mem_free(bus);
}

void bus_set_workers(struct bus *bus, unsigned count) {
    uv_mutex_lock(&bus->lock);
    bus->directory.workers = count;
    atomic_store(&bus->workers, count);
    uv_mutex_unlock(&bus->lock);
}

void bus_set_mail_max(struct bus *bus, size_t bytes) {
    uv_mutex_lock(&bus->lock);
    bus->mail_max = bytes;
    uv_mutex_unlock(&bus->lock);
}

unsigned bus_workers(const struct bus *bus) {
    return atomic_load_explicit(&bus->workers, memory_order_relaxed);
}

void bus_enter(struct bus *bus, unsigned worker, void (*wake)(void *user), void *user,
               const struct stats *stats) {
    struct door *door = &bus->doors[worker];
    uv_mutex_lock(&bus->lock);
    door->open = true;
    door->wake = wake;
    door->wake_user = user;
    door->stats = stats;
    uv_mutex_unlock(&bus->lock);
}

/* ---- mailboxes ---- */

bool bus_has_mail(const struct bus *bus, unsigned worker) {
    return atomic_load_explicit(&bus->doors[worker].has_mail, memory_order_acquire);
}

/* Under the lock. */
static struct mail *take(struct bus *bus, unsigned worker) {
    struct door *door = &bus->doors[worker];
    struct mail *first = mailbox_take(&door->box);
    door->told_half = door->told_full = false;
    atomic_store_explicit(&door->has_mail, false, memory_order_release);
    return first;
}

struct mail *bus_take_mail(struct bus *bus, unsigned worker) {
    uv_mutex_lock(&bus->lock);
    struct mail *mail = take(bus, worker);
    uv_mutex_unlock(&bus->lock);
    return mail;
}

void bus_leave(struct bus *bus, unsigned worker) {
    struct door *door = &bus->doors[worker];
    uv_mutex_lock(&door->waking);
    door->wake = NULL;
    uv_mutex_unlock(&door->waking);
    uv_mutex_lock(&bus->lock);
    door->open = false;
    struct mail *mail = take(bus, worker);
    uv_mutex_unlock(&bus->lock);
    for (struct mail *next; mail != NULL; mail = next) {
        next = mail->next;
        mail_free(mail);
    }
}

/* What is left to do when the lock is free again: the doors that were empty and have mail now. */
struct calls {
    uint64_t workers[BUS_MAX_WORKERS / 64];
    unsigned behind; /* a worker with much mail */
    size_t waiting;  /* how many bytes; 0: none has */
    bool is_full;    /* and from now on some is lost */
};

/* Under the lock: there is mail at a door, perhaps for the first time, or much of it. */
static void posted(struct bus *bus, unsigned worker, bool was_empty, bool is_full,
                   struct calls *calls) {
    struct door *door = &bus->doors[worker];
    if (was_empty) {
        calls->workers[worker / 64] |= (uint64_t)1 << worker % 64;
        atomic_store_explicit(&door->has_mail, true, memory_order_release);
    }
    bool *told = is_full ? &door->told_full : &door->told_half;
    if (*told || (!is_full && door->box.bytes <= bus->mail_max / 2) ||
        (!is_full && door->box.count == 1))
        return;
    *told = true;
    calls->behind = worker;
    calls->waiting = door->box.bytes;
    calls->is_full = is_full;
}

/* Under the lock: may a mail of this cost be posted? */
static bool has_room(const struct bus *bus, unsigned worker, size_t cost) {
    return mailbox_has_room(&bus->doors[worker].box, cost, bus->mail_max);
}

/* Under the lock. Takes over the mail. */
static void post(struct bus *bus, unsigned worker, struct mail *mail, struct calls *calls) {
    struct door *door = &bus->doors[worker];
    if (!door->open)
        mail_free(mail);
    else
        posted(bus, worker, mailbox_push(&door->box, mail), false, calls);
}

/* Under the lock: notes what did not fit. Takes over the mail, which says for whom it was. */
static void lose(struct bus *bus, unsigned worker, struct mail *mail, struct calls *calls) {
    struct door *door = &bus->doors[worker];
    if (!door->open)
        mail_free(mail);
    else
        posted(bus, worker, mailbox_lose(&door->box, mail), true, calls);
}

static void call(struct bus *bus, const struct calls *calls) {
    if (calls->waiting > 0)
        log_eventf(LOG_WARN, "worker_behind",
                   "worker %u does not take its messages from other workers: %zu bytes wait%s",
                   calls->behind, calls->waiting,
                   calls->is_full ? ", limits.worker_backlog is reached, and what comes for its "
                                    "connections is lost: they are treated as slow clients"
                                  : "");
    for (unsigned i = 0; i < BUS_MAX_WORKERS / 64; i++) {
        for (uint64_t left = calls->workers[i]; left != 0; left &= left - 1) {
            struct door *door = &bus->doors[i * 64 + (unsigned)__builtin_ctzll(left)];
            uv_mutex_lock(&door->waking);
            if (door->wake != NULL)
                door->wake(door->wake_user);
            uv_mutex_unlock(&door->waking);
        }
    }
}

/* ---- rooms ---- */

/* Under the lock: tells the workers that watch this room, but for `except`. */
static void post_moved(struct bus *bus, unsigned except, const struct presence *presence,
                       conn_id id, bool joined, struct calls *calls) {
    struct slice room = presence_room(presence);
    if (!directory_is_watched(&bus->directory, room))
        return;
    for (unsigned other = 0; other < bus_workers(bus); other++) {
        if (other == except || !directory_watches(&bus->directory, other, room))
            continue;
        if (bus->doors[other].box.bytes / 2 >
            bus->mail_max) { /* its list of members is wrong now */
            posted(bus, other, false, true, calls);
            continue;
        }
        struct mail *mail =
            mail_new(MAIL_MOVED, room, presence_name(presence), presence_info(presence));
        mail->id = id;
        mail->joined = joined;
        post(bus, other, mail, calls);
    }
}

struct mail *bus_join(struct bus *bus, unsigned worker, struct slice room, conn_id id,
                      uint32_t endpoint, const char *name, struct slice info,
                      struct presence **presence) {
    struct calls calls = {0};
    uv_mutex_lock(&bus->lock);
    struct mail *mail = take(bus, worker);
    *presence = directory_join(&bus->directory, worker, room, id, endpoint, name, info);
    post_moved(bus, worker, *presence, id, true, &calls);
    uv_mutex_unlock(&bus->lock);
    call(bus, &calls);
    return mail;
}

void bus_leave_room(struct bus *bus, unsigned worker, struct presence *presence, conn_id id,
                    struct mail **mail) {
    struct calls calls = {0};
    uv_mutex_lock(&bus->lock);
    if (mail != NULL)
        *mail = take(bus, worker);
    post_moved(bus, mail != NULL ? worker : BUS_MAX_WORKERS, presence, id, false, &calls);
    directory_leave(&bus->directory, presence);
    uv_mutex_unlock(&bus->lock);
    call(bus, &calls);
}

struct presence *bus_set_info(struct bus *bus, struct presence *presence, struct slice info) {
    uv_mutex_lock(&bus->lock);
    presence = directory_set_info(presence, info);
    uv_mutex_unlock(&bus->lock);
    return presence;
}

/* ---- broadcasts ---- */

/* Under the lock. NULL: the connection is not there. */
static struct seat *find_seat(struct bus *bus, conn_id id) {
    if (conn_worker(id) >= BUS_MAX_WORKERS)
        return NULL;
    const struct door *door = &bus->doors[conn_worker(id)];
    uint32_t slot = conn_slot(id);
    return slot < door->seat_count && door->seats[slot].id == id && id != 0 ? &door->seats[slot]
                                                                            : NULL;
}

/* Under the lock: the codec that connections of an endpoint have on one worker for who speaks from another. That of the
 * newer code of the two: where the receivers' is older, they wait for theirs. */
static uint32_t codec_for(const struct bus *bus, unsigned speaker, unsigned worker,
                          uint32_t endpoint) {
    bool is_newer = bus->doors[speaker].generation > bus->doors[worker].generation;
    return bus->endpoints[endpoint]->codecs[is_newer ? speaker : worker];
}

/* Under the lock: the codecs of those who are meant on one worker, and for which there is no encoding. */
static void add_missing(const struct bus *bus, unsigned speaker, const struct broadcast *broadcast,
                        const struct headcount *heads, unsigned worker, struct codec_list *list) {
    for (; heads != NULL; heads = heads->next) {
        if (heads->by_worker[worker] == 0 || !broadcast_is_for(broadcast, heads->endpoint))
            continue;
        uint32_t codec = codec_for(bus, speaker, worker, heads->endpoint);
        if (broadcast_encoding(broadcast, codec) == NULL)
            codec_list_add(list, codec);
    }
}

/* Under the lock: how many on one worker get this encoding. */
static uint32_t count_receivers(const struct bus *bus, unsigned speaker,
                                const struct broadcast *broadcast, const struct headcount *heads,
                                unsigned worker, uint32_t codec) {
    uint32_t count = 0;
    for (; heads != NULL; heads = heads->next)
        if (heads->by_worker[worker] > 0 && broadcast_is_for(broadcast, heads->endpoint) &&
            codec_for(bus, speaker, worker, heads->endpoint) == codec)
            count += heads->by_worker[worker];
    return count;
}

/* One encoding of a broadcast for one worker: what it takes to hand it over. */
struct posting {
    unsigned speaker, worker;
    const struct broadcast *broadcast;
    const struct headcount *heads;
    conn_id except; /* a connection of that worker who would be among the receivers; 0: none */
};

/* Under the lock: who is to be left out, if it is among those who are meant; else 0. */
static conn_id find_except(struct bus *bus, unsigned speaker, const struct broadcast *broadcast) {
    if (broadcast->except == 0 || conn_worker(broadcast->except) == speaker)
        return 0; /* the speaker's own hub leaves it out */
    const struct seat *seat = find_seat(bus, broadcast->except);
    bool is_meant = seat != NULL && broadcast_is_for(broadcast, seat->endpoint) &&
                    (broadcast->room.bytes == NULL ||
                     directory_has(&bus->directory, broadcast->room, broadcast->except));
    return is_meant ? broadcast->except : 0;
}

/* Under the lock: does the one who is left out have this codec? */
static bool is_for_except(struct bus *bus, const struct posting *posting, uint32_t codec) {
    const struct seat *seat = posting->except == 0 ? NULL : find_seat(bus, posting->except);
    return seat != NULL && conn_worker(posting->except) == posting->worker &&
           codec_for(bus, posting->speaker, posting->worker, seat->endpoint) == codec;
}

/* Under the lock: hands one encoding to one worker, if somebody there gets it. Returns how many; 0 where its mailbox is
 * full. */
static uint32_t post_encoding(struct bus *bus, const struct posting *posting,
                              const struct encoding *encoding, struct calls *calls) {
    if (encoding->message == NULL)
        return 0;
    const struct broadcast *broadcast = posting->broadcast;
    uint32_t count = count_receivers(bus, posting->speaker, broadcast, posting->heads,
                                     posting->worker, encoding->codec);
    if (count > 0 && is_for_except(bus, posting, encoding->codec))
        count--;
    if (count == 0)
        return 0;
    bool fits =
        has_room(bus, posting->worker, mail_cost(broadcast->room, NULL, NULL, encoding->message));
    struct mail *mail =
        mail_new(fits ? MAIL_PUBLISH : MAIL_LOST_PUBLISH, broadcast->room, NULL, NULL);
    mail->endpoint = broadcast->endpoint;
    mail->codec = encoding->codec;
    mail->generation = bus->doors[posting->speaker].generation;
    if (!fits) {
        lose(bus, posting->worker, mail, calls);
        return 0;
    }
    mail->id = posting->except;
    mail->message = message_ref(encoding->message);
    post(bus, posting->worker, mail, calls);
    return count;
}

struct mail *bus_publish(struct bus *bus, unsigned worker, const struct broadcast *broadcast,
                         uint32_t *others, struct codec_list *missing) {
    struct calls calls = {0};
    struct mail *own = NULL;
    *others = 0;
    uv_mutex_lock(&bus->lock);
    const struct headcount *heads = broadcast->room.bytes == NULL
                                        ? bus->everyone
                                        : directory_headcount(&bus->directory, broadcast->room);
    for (unsigned each = 0; each < bus_workers(bus); each++)
        add_missing(bus, worker, broadcast, heads, each, missing);
    if (missing->count == 0) {
        own = take(bus, worker);
        struct posting posting = {worker, 0, broadcast, heads, find_except(bus, worker, broadcast)};
        for (; posting.worker < bus_workers(bus); posting.worker++)
            for (uint32_t i = 0; posting.worker != worker && i < broadcast->encoding_count; i++)
                *others += post_encoding(bus, &posting, &broadcast->encodings[i], &calls);
    }
    uv_mutex_unlock(&bus->lock);
    call(bus, &calls);
    return own;
}

void bus_watch(struct bus *bus, unsigned worker, struct slice room, bool on) {
    uv_mutex_lock(&bus->lock);
    directory_watch(&bus->directory, worker, room, on);
    uv_mutex_unlock(&bus->lock);
}

uint32_t bus_room_size(struct bus *bus, struct slice room) {
    uv_mutex_lock(&bus->lock);
    uint32_t size = directory_size(&bus->directory, room);
    uv_mutex_unlock(&bus->lock);
    return size;
}

void bus_room_codecs(struct bus *bus, unsigned worker, struct slice room, struct codec_list *list) {
    struct broadcast nothing = {.room = room, .endpoint = ANY_ENDPOINT};
    uv_mutex_lock(&bus->lock);
    for (unsigned other = 0; other < bus_workers(bus); other++)
        add_missing(bus, worker, &nothing, directory_headcount(&bus->directory, room), other, list);
    uv_mutex_unlock(&bus->lock);
}

void bus_room_members(struct bus *bus, struct slice room,
                      void (*f)(void *user, conn_id id, const char *name, const char *info),
                      void *user) {
    uv_mutex_lock(&bus->lock);
    directory_members(&bus->directory, room, f, user);
    uv_mutex_unlock(&bus->lock);
}

/* ---- connections ---- */

static void make_seat(struct door *door, uint32_t slot) {
    if (slot < door->seat_count)
        return;
    uint32_t count = door->seat_count == 0 ? 64 : door->seat_count;
    while (count <= slot)
        count *= 2;
    door->seats = mem_realloc(door->seats, count * sizeof *door->seats);
    memset(door->seats + door->seat_count, 0, (count - door->seat_count) * sizeof *door->seats);
    door->seat_count = count;
}

struct mail *bus_announce(struct bus *bus, unsigned worker, conn_id id, uint32_t endpoint) {
    uv_mutex_lock(&bus->lock);
    struct mail *mail = take(bus, worker);
    uint32_t slot = conn_slot(id);
    make_seat(&bus->doors[worker], slot);
    bus->doors[worker].seats[slot] = (struct seat){id, endpoint, false};
    headcount_add(&bus->everyone, bus->directory.workers, endpoint, worker);
    uv_mutex_unlock(&bus->lock);
    return mail;
}

void bus_withdraw(struct bus *bus, unsigned worker, conn_id id) {
    uv_mutex_lock(&bus->lock);
    struct seat *seat = find_seat(bus, id);
    if (seat != NULL) {
        headcount_remove(&bus->everyone, seat->endpoint, worker);
        *seat = (struct seat){0};
    }
    uv_mutex_unlock(&bus->lock);
}

/* The same; NULL, too, when another worker has closed it: one close is enough, and nothing comes behind it. */
static struct seat *find_open_seat(struct bus *bus, conn_id id) {
    struct seat *seat = find_seat(bus, id);
    return seat == NULL || seat->is_closing ? NULL : seat;
}

bool bus_codec_of(struct bus *bus, unsigned worker, conn_id id, uint32_t *codec) {
    uv_mutex_lock(&bus->lock);
    const struct seat *seat = find_open_seat(bus, id);
    if (seat != NULL)
        *codec = codec_for(bus, worker, conn_worker(id), seat->endpoint);
    uv_mutex_unlock(&bus->lock);
    return seat != NULL;
}

enum bus_result bus_send(struct bus *bus, unsigned worker, conn_id id, uint32_t codec,
                         struct message *message, uint32_t *endpoint) {
    static const struct slice nowhere = {NULL, 0};
    struct calls calls = {0};
    enum bus_result result = BUS_NOBODY;
    uv_mutex_lock(&bus->lock);
    const struct seat *seat = find_open_seat(bus, id);
    if (seat != NULL)
        result = codec_for(bus, worker, conn_worker(id), seat->endpoint) == codec ? BUS_SENT
                                                                                  : BUS_OTHER_CODEC;
    if (seat != NULL)
        *endpoint = seat->endpoint;
    if (result == BUS_SENT) {
        unsigned other = conn_worker(id);
        bool fits = has_room(bus, other, mail_cost(nowhere, NULL, NULL, message));
        struct mail *mail = mail_new(fits ? MAIL_SEND : MAIL_LOST_SEND, nowhere, NULL, NULL);
        mail->id = id;
        mail->generation = bus->doors[worker].generation;
        if (fits)
            mail->message = message_ref(message);
        (fits ? post : lose)(bus, other, mail, &calls);
        result = fits ? BUS_SENT : BUS_LOST;
    }
    uv_mutex_unlock(&bus->lock);
    call(bus, &calls);
    return result;
}

bool bus_close(struct bus *bus, conn_id id, unsigned code, struct slice reason) {
    struct calls calls = {0};
    uv_mutex_lock(&bus->lock);
    struct seat *seat = find_open_seat(bus, id);
    bool is_there = seat != NULL;
    if (is_there) {
        seat->is_closing = true;
        struct mail *mail = mail_new(MAIL_CLOSE, reason, NULL, NULL);
        mail->id = id;
        mail->code = code;
        post(bus, conn_worker(id), mail, &calls);
    }
    uv_mutex_unlock(&bus->lock);
    call(bus, &calls);
    return is_there;
}

struct places *bus_places(struct bus *bus, unsigned worker, uint32_t number, uint32_t max,
                          uint32_t codec) {
    uv_mutex_lock(&bus->lock);
    if (number >= bus->endpoint_count) {
        bus->endpoints = mem_realloc(bus->endpoints, (number + 1) * sizeof *bus->endpoints);
        while (bus->endpoint_count <= number)
            bus->endpoints[bus->endpoint_count++] = NULL;
    }
    struct shared_endpoint *endpoint = bus->endpoints[number];
    if (endpoint == NULL) {
        endpoint = bus->endpoints[number] = mem_zalloc(sizeof *endpoint);
        atomic_init(&endpoint->places.max, max);
    }
    endpoint->codecs[worker] = codec;
    uv_mutex_unlock(&bus->lock);
    return &endpoint->places;
}

bool bus_is_first(struct bus *bus, uint32_t endpoint) {
    uv_mutex_lock(&bus->lock);
    bool is_first = !bus->endpoints[endpoint]->asked;
    bus->endpoints[endpoint]->asked = true;
    uv_mutex_unlock(&bus->lock);
    return is_first;
}

struct mail *bus_take_over(struct bus *bus, unsigned worker, uint32_t generation,
                           struct endpoint *const *endpoints, uint32_t count) {
    uv_mutex_lock(&bus->lock);
    struct mail *mail = take(bus, worker);
    bus->doors[worker].generation = generation;
    for (uint32_t i = 0; i < count; i++)
        bus->endpoints[i]->codecs[worker] = endpoints[i]->next_codec;
    uv_mutex_unlock(&bus->lock);
    return mail;
}

uint64_t bus_connections(struct bus *bus, unsigned worker) {
    uv_mutex_lock(&bus->lock);
    const struct stats *stats = bus->doors[worker].stats;
    uint64_t connections = stats == NULL ? 0 : stats_read(&stats->connections);
    uv_mutex_unlock(&bus->lock);
    return connections;
}

void bus_total(struct bus *bus, struct stats_total *total) {
    *total = (struct stats_total){0};
    uv_mutex_lock(&bus->lock);
    for (unsigned i = 0; i < bus_workers(bus); i++)
        if (bus->doors[i].stats != NULL)
            stats_add_to(total, bus->doors[i].stats);
    uv_mutex_unlock(&bus->lock);
}
