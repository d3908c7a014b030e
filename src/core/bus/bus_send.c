/* bus_send.c -- to connections of other workers: broadcasts, single messages, closes. See bus.h.
 *
 * Each function finds the receivers and their codecs and posts to them in one step under the
 * lock. */
#include "core/bus/bus_parts.h"

#include "base/mem.h"

#include <stddef.h>
#include <string.h>

/* ---- broadcasts ---- */

struct conn_entry *bus_find_conn(struct bus *bus, conn_id id) {
    if (conn_id_worker(id) >= BUS_MAX_WORKERS)
        return NULL;
    const struct bus_worker *entry = &bus->workers[conn_id_worker(id)];
    uint32_t slot = conn_id_slot(id);
    return slot < entry->conn_count && entry->conns[slot].id == id && id != 0 ? &entry->conns[slot]
                                                                              : NULL;
}

uint32_t bus_codec_on(const struct bus *bus, unsigned worker, uint32_t endpoint) {
    return bus->endpoints[endpoint]->codecs[worker];
}

/* Under the lock: adds the codecs of receivers on one worker that have no encoding. */
static void add_missing(const struct bus *bus, const struct broadcast *broadcast,
                        const struct endpoint_counts *counts, unsigned worker,
                        struct codec_list *list) {
    for (; counts != NULL; counts = counts->next) {
        if (counts->by_worker[worker] == 0 || !broadcast_is_for(broadcast, counts->endpoint))
            continue;
        uint32_t codec = bus_codec_on(bus, worker, counts->endpoint);
        if (broadcast_encoding(broadcast, codec) == NULL)
            codec_list_add(list, codec);
    }
}

/* Under the lock: the number of connections on one worker that get this encoding. */
static uint32_t count_receivers(const struct bus *bus, const struct broadcast *broadcast,
                                const struct endpoint_counts *counts, unsigned worker,
                                uint32_t codec) {
    uint32_t count = 0;
    for (; counts != NULL; counts = counts->next)
        if (counts->by_worker[worker] > 0 && broadcast_is_for(broadcast, counts->endpoint) &&
            bus_codec_on(bus, worker, counts->endpoint) == codec)
            count += counts->by_worker[worker];
    return count;
}

/* A broadcast for one worker. */
struct posting {
    unsigned worker;
    const struct broadcast *broadcast;
    const struct endpoint_counts *counts;
    conn_id except; /* the broadcast's, if it would be a receiver; 0: none */
    uint64_t epoch,
        offset; /* in the room's memory; epoch 0: that of this machine; offset 0: none */
};

/* Under the lock: the broadcast's `except`, if it is a connection of another worker and would be a
 * receiver; else 0. */
static conn_id find_except(struct bus *bus, unsigned publisher, const struct broadcast *broadcast) {
    if (broadcast->except == 0 || conn_id_worker(broadcast->except) == publisher)
        return 0; /* the publisher's own hub skips it */
    const struct conn_entry *conn = bus_find_conn(bus, broadcast->except);
    bool is_receiver = conn != NULL && broadcast_is_for(broadcast, conn->endpoint) &&
                       (broadcast->room.bytes == NULL ||
                        directory_has(&bus->directory, broadcast->room, broadcast->except));
    return is_receiver ? broadcast->except : 0;
}

/* Under the lock: does `except` belong to this worker and have this codec? */
static bool is_for_except(struct bus *bus, const struct posting *posting, uint32_t codec) {
    const struct conn_entry *conn =
        posting->except == 0 ? NULL : bus_find_conn(bus, posting->except);
    return conn != NULL && conn_id_worker(posting->except) == posting->worker &&
           bus_codec_on(bus, posting->worker, conn->endpoint) == codec;
}

/* Under the lock: posts one encoding to one worker, if it has receivers. Returns their number; 0 if
 * the mailbox is full. */
static uint32_t post_encoding(struct bus *bus, const struct posting *posting,
                              const struct encoding *encoding, struct wakeups *wakeups) {
    if (encoding->message == NULL)
        return 0;
    const struct broadcast *broadcast = posting->broadcast;
    uint32_t count =
        count_receivers(bus, broadcast, posting->counts, posting->worker, encoding->codec);
    if (count > 0 && is_for_except(bus, posting, encoding->codec))
        count--;
    if (count == 0)
        return 0;
    bool fits = bus_has_room(bus, posting->worker, mail_cost(broadcast->room, encoding->message));
    struct mail *mail = mail_new(fits ? MAIL_PUBLISH : MAIL_LOST_PUBLISH, broadcast->room);
    mail->endpoint = broadcast->endpoint;
    mail->codec = encoding->codec;
    if (!fits) {
        bus_lose(bus, posting->worker, mail, wakeups);
        return 0;
    }
    mail->id = posting->except;
    mail->epoch = posting->epoch;
    mail->offset = posting->offset;
    mail_set_message(mail, encoding->message);
    bus_post(bus, posting->worker, mail, wakeups);
    return count;
}

/* Under the lock: the connections that a broadcast may go to. */
static const struct endpoint_counts *receivers_of(const struct bus *bus, struct slice room) {
    return room.bytes == NULL ? bus->counts : directory_endpoint_counts(&bus->directory, room);
}

uint32_t bus_post_broadcast(struct bus *bus, unsigned publisher, const struct broadcast *broadcast,
                            const struct memory_position *position, struct wakeups *wakeups) {
    uint32_t receivers = 0;
    struct posting posting = {0,
                              broadcast,
                              receivers_of(bus, broadcast->room),
                              find_except(bus, publisher, broadcast),
                              position->epoch,
                              position->offset};
    for (; posting.worker < bus_workers(bus); posting.worker++)
        for (uint32_t i = 0; posting.worker != publisher && i < broadcast->encoding_count; i++)
            receivers += post_encoding(bus, &posting, &broadcast->encodings[i], wakeups);
    return receivers;
}

/* Under the lock: the number of receivers that a broadcast of this worker has now. */
static uint32_t count_all(struct bus *bus, const struct broadcast *broadcast) {
    const struct endpoint_counts *counts = receivers_of(bus, broadcast->room);
    uint32_t count = 0;
    for (unsigned worker = 0; worker < bus_workers(bus); worker++)
        for (uint32_t i = 0; i < broadcast->encoding_count; i++)
            if (broadcast->encodings[i].message != NULL)
                count +=
                    count_receivers(bus, broadcast, counts, worker, broadcast->encodings[i].codec);
    return count - (find_except(bus, BUS_MAX_WORKERS, broadcast) != 0);
}

/* Under the lock: delivers to the other workers and to the link. */
static void publish(struct bus *bus, unsigned worker, const struct broadcast *broadcast,
                    struct published *published, struct wakeups *wakeups) {
    bool remembers = broadcast->room.bytes != NULL && atomic_load(&bus->remembers);
    if (bus->link != NULL && remembers && bus_is_ordered(bus, broadcast->room)) {
        published->is_ordered = true;
        published->receivers = count_all(bus, broadcast);
    } else {
        if (remembers)
            published->offset = bus_remember(bus, broadcast, wakeups);
        const struct memory_position position = {.offset = published->offset};
        published->receivers = bus_post_broadcast(bus, worker, broadcast, &position, wakeups);
    }
    if (bus->link != NULL && broadcast->room.bytes != NULL)
        published->receivers += bus_remote_receivers(bus, broadcast);
    bus_push_broadcast(bus, broadcast, published->is_ordered, wakeups);
}

struct mail *bus_publish(struct bus *bus, unsigned worker, const struct broadcast *broadcast,
                         struct published *published, struct codec_list *missing) {
    struct wakeups wakeups = {0};
    struct mail *own = NULL;
    *published = (struct published){0};
    uv_mutex_lock(&bus->lock);
    const struct endpoint_counts *counts = receivers_of(bus, broadcast->room);
    for (unsigned each = 0; each < bus_workers(bus); each++)
        add_missing(bus, broadcast, counts, each, missing);
    if (missing->count == 0) {
        own = bus_take(bus, worker);
        publish(bus, worker, broadcast, published, &wakeups);
    }
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
    return own;
}

void bus_room_codecs(struct bus *bus, struct slice room, struct codec_list *list) {
    struct broadcast nothing = {.room = room, .endpoint = ANY_ENDPOINT};
    uv_mutex_lock(&bus->lock);
    for (unsigned worker = 0; worker < bus_workers(bus); worker++)
        add_missing(bus, &nothing, directory_endpoint_counts(&bus->directory, room), worker, list);
    uv_mutex_unlock(&bus->lock);
}

/* ---- connections ---- */

static void grow_conns(struct bus_worker *entry, uint32_t slot) {
    if (slot < entry->conn_count)
        return;
    uint32_t count = entry->conn_count == 0 ? 64 : entry->conn_count;
    while (count <= slot)
        count *= 2;
    entry->conns = mem_realloc(entry->conns, count * sizeof *entry->conns);
    memset(entry->conns + entry->conn_count, 0, (count - entry->conn_count) * sizeof *entry->conns);
    entry->conn_count = count;
}

struct mail *bus_announce(struct bus *bus, unsigned worker, conn_id id, uint32_t endpoint) {
    uv_mutex_lock(&bus->lock);
    struct mail *mail = bus_take(bus, worker);
    uint32_t slot = conn_id_slot(id);
    grow_conns(&bus->workers[worker], slot);
    bus->workers[worker].conns[slot] =
        (struct conn_entry){.id = id, .endpoint = endpoint, .number = ++bus->announced};
    endpoint_counts_add(&bus->counts, bus->directory.workers, endpoint, worker);
    uv_mutex_unlock(&bus->lock);
    return mail;
}

void bus_withdraw(struct bus *bus, unsigned worker, conn_id id) {
    uv_mutex_lock(&bus->lock);
    struct conn_entry *conn = bus_find_conn(bus, id);
    if (conn != NULL) {
        endpoint_counts_remove(&bus->counts, conn->endpoint, worker);
        *conn = (struct conn_entry){0};
    }
    uv_mutex_unlock(&bus->lock);
}

/* One close is enough, and nothing follows it. */
struct conn_entry *bus_find_open_conn(struct bus *bus, conn_id id) {
    struct conn_entry *conn = bus_find_conn(bus, id);
    return conn == NULL || conn->is_closing ? NULL : conn;
}

bool bus_codec_of(struct bus *bus, conn_id id, uint32_t *codec) {
    uv_mutex_lock(&bus->lock);
    const struct conn_entry *conn = bus_find_open_conn(bus, id);
    if (conn != NULL)
        *codec = bus_codec_on(bus, conn_id_worker(id), conn->endpoint);
    uv_mutex_unlock(&bus->lock);
    return conn != NULL;
}

enum bus_result bus_post_send(struct bus *bus, const struct conn_entry *conn, uint32_t codec,
                              struct message *message, struct wakeups *wakeups) {
    static const struct slice nowhere = {NULL, 0};
    unsigned worker = conn_id_worker(conn->id);
    if (bus_codec_on(bus, worker, conn->endpoint) != codec)
        return BUS_CLOSED;
    bool fits = bus_has_room(bus, worker, mail_cost(nowhere, message));
    struct mail *mail = mail_new(fits ? MAIL_SEND : MAIL_LOST_SEND, nowhere);
    mail->id = conn->id;
    if (fits)
        mail_set_message(mail, message);
    (fits ? bus_post : bus_lose)(bus, worker, mail, wakeups);
    return fits ? BUS_SENT : BUS_LOST;
}

enum bus_result bus_send(struct bus *bus, conn_id id, uint32_t codec, struct message *message,
                         uint32_t *endpoint) {
    struct wakeups wakeups = {0};
    enum bus_result result = BUS_CLOSED;
    uv_mutex_lock(&bus->lock);
    const struct conn_entry *conn = bus_find_open_conn(bus, id);
    if (conn != NULL) {
        *endpoint = conn->endpoint;
        result = bus_post_send(bus, conn, codec, message, &wakeups);
    }
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
    return result;
}

void bus_post_close(struct bus *bus, struct conn_entry *conn, unsigned code, struct slice reason,
                    struct wakeups *wakeups) {
    struct mail *mail = mail_new(MAIL_CLOSE, reason);
    mail->id = conn->id;
    mail->code = code;
    conn->is_closing = true;
    bus_post(bus, conn_id_worker(conn->id), mail, wakeups);
}

bool bus_close(struct bus *bus, conn_id id, unsigned code, struct slice reason) {
    struct wakeups wakeups = {0};
    uv_mutex_lock(&bus->lock);
    struct conn_entry *conn = bus_find_open_conn(bus, id);
    if (conn != NULL)
        bus_post_close(bus, conn, code, reason, &wakeups);
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
    return conn != NULL;
}
