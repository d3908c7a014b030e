/* bus_send.c -- to connections of other workers: broadcasts, single messages, closes. See bus.h.
 *
 * Who is where, and with which codec, is looked up and acted on under one lock. */
#include "core/bus/bus_parts.h"

#include "base/mem.h"

#include <stddef.h>
#include <string.h>

/* ---- broadcasts ---- */

/* Under the lock. NULL: the connection is not there. */
static struct conn_entry *find_seat(struct bus *bus, conn_id id) {
    if (conn_id_worker(id) >= BUS_MAX_WORKERS)
        return NULL;
    const struct bus_worker *door = &bus->doors[conn_id_worker(id)];
    uint32_t slot = conn_id_slot(id);
    return slot < door->conn_count && door->conns[slot].id == id && id != 0 ? &door->conns[slot]
                                                                            : NULL;
}

/* Under the lock: the codec that an endpoint has on one worker. */
static uint32_t codec_on(const struct bus *bus, unsigned worker, uint32_t endpoint) {
    return bus->endpoints[endpoint]->codecs[worker];
}

/* Under the lock: the codecs of those who are meant on one worker, and for which there is no
 * encoding. */
static void add_missing(const struct bus *bus, const struct broadcast *broadcast,
                        const struct endpoint_counts *heads, unsigned worker,
                        struct codec_list *list) {
    for (; heads != NULL; heads = heads->next) {
        if (heads->by_worker[worker] == 0 || !broadcast_is_for(broadcast, heads->endpoint))
            continue;
        uint32_t codec = codec_on(bus, worker, heads->endpoint);
        if (broadcast_encoding(broadcast, codec) == NULL)
            codec_list_add(list, codec);
    }
}

/* Under the lock: how many on one worker get this encoding. */
static uint32_t count_receivers(const struct bus *bus, const struct broadcast *broadcast,
                                const struct endpoint_counts *heads, unsigned worker,
                                uint32_t codec) {
    uint32_t count = 0;
    for (; heads != NULL; heads = heads->next)
        if (heads->by_worker[worker] > 0 && broadcast_is_for(broadcast, heads->endpoint) &&
            codec_on(bus, worker, heads->endpoint) == codec)
            count += heads->by_worker[worker];
    return count;
}

/* One encoding of a broadcast for one worker: what it takes to hand it over. */
struct posting {
    unsigned worker;
    const struct broadcast *broadcast;
    const struct endpoint_counts *heads;
    conn_id except; /* a connection of that worker who would be among the receivers; 0: none */
};

/* Under the lock: who is to be left out, if it is among those who are meant; else 0. */
static conn_id find_except(struct bus *bus, unsigned speaker, const struct broadcast *broadcast) {
    if (broadcast->except == 0 || conn_id_worker(broadcast->except) == speaker)
        return 0; /* the speaker's own hub leaves it out */
    const struct conn_entry *seat = find_seat(bus, broadcast->except);
    bool is_meant = seat != NULL && broadcast_is_for(broadcast, seat->endpoint) &&
                    (broadcast->room.bytes == NULL ||
                     directory_has(&bus->directory, broadcast->room, broadcast->except));
    return is_meant ? broadcast->except : 0;
}

/* Under the lock: does the one who is left out have this codec? */
static bool is_for_except(struct bus *bus, const struct posting *posting, uint32_t codec) {
    const struct conn_entry *seat = posting->except == 0 ? NULL : find_seat(bus, posting->except);
    return seat != NULL && conn_id_worker(posting->except) == posting->worker &&
           codec_on(bus, posting->worker, seat->endpoint) == codec;
}

/* Under the lock: hands one encoding to one worker, if somebody there gets it. Returns how many; 0
 * where its mailbox is full. */
static uint32_t post_encoding(struct bus *bus, const struct posting *posting,
                              const struct encoding *encoding, struct calls *calls) {
    if (encoding->message == NULL)
        return 0;
    const struct broadcast *broadcast = posting->broadcast;
    uint32_t count =
        count_receivers(bus, broadcast, posting->heads, posting->worker, encoding->codec);
    if (count > 0 && is_for_except(bus, posting, encoding->codec))
        count--;
    if (count == 0)
        return 0;
    bool fits = bus_has_room(bus, posting->worker,
                             mail_cost(broadcast->room, NULL, NULL, encoding->message));
    struct mail *mail =
        mail_new(fits ? MAIL_PUBLISH : MAIL_LOST_PUBLISH, broadcast->room, NULL, NULL);
    mail->endpoint = broadcast->endpoint;
    mail->codec = encoding->codec;
    if (!fits) {
        bus_lose(bus, posting->worker, mail, calls);
        return 0;
    }
    mail->id = posting->except;
    mail->message = message_ref(encoding->message);
    bus_post(bus, posting->worker, mail, calls);
    return count;
}

struct mail *bus_publish(struct bus *bus, unsigned worker, const struct broadcast *broadcast,
                         uint32_t *others, struct codec_list *missing) {
    struct calls calls = {0};
    struct mail *own = NULL;
    *others = 0;
    uv_mutex_lock(&bus->lock);
    const struct endpoint_counts *heads =
        broadcast->room.bytes == NULL ? bus->everyone
                                      : directory_endpoint_counts(&bus->directory, broadcast->room);
    for (unsigned each = 0; each < bus_workers(bus); each++)
        add_missing(bus, broadcast, heads, each, missing);
    if (missing->count == 0) {
        own = bus_take(bus, worker);
        struct posting posting = {0, broadcast, heads, find_except(bus, worker, broadcast)};
        for (; posting.worker < bus_workers(bus); posting.worker++)
            for (uint32_t i = 0; posting.worker != worker && i < broadcast->encoding_count; i++)
                *others += post_encoding(bus, &posting, &broadcast->encodings[i], &calls);
    }
    uv_mutex_unlock(&bus->lock);
    bus_call(bus, &calls);
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

static void make_seat(struct bus_worker *door, uint32_t slot) {
    if (slot < door->conn_count)
        return;
    uint32_t count = door->conn_count == 0 ? 64 : door->conn_count;
    while (count <= slot)
        count *= 2;
    door->conns = mem_realloc(door->conns, count * sizeof *door->conns);
    memset(door->conns + door->conn_count, 0, (count - door->conn_count) * sizeof *door->conns);
    door->conn_count = count;
}

struct mail *bus_announce(struct bus *bus, unsigned worker, conn_id id, uint32_t endpoint) {
    uv_mutex_lock(&bus->lock);
    struct mail *mail = bus_take(bus, worker);
    uint32_t slot = conn_id_slot(id);
    make_seat(&bus->doors[worker], slot);
    bus->doors[worker].conns[slot] = (struct conn_entry){id, endpoint, false};
    endpoint_counts_add(&bus->everyone, bus->directory.workers, endpoint, worker);
    uv_mutex_unlock(&bus->lock);
    return mail;
}

void bus_withdraw(struct bus *bus, unsigned worker, conn_id id) {
    uv_mutex_lock(&bus->lock);
    struct conn_entry *seat = find_seat(bus, id);
    if (seat != NULL) {
        endpoint_counts_remove(&bus->everyone, seat->endpoint, worker);
        *seat = (struct conn_entry){0};
    }
    uv_mutex_unlock(&bus->lock);
}

/* As find_seat(), but NULL also where another worker has closed it: one close is enough, and
 * nothing comes behind it. */
static struct conn_entry *find_open_seat(struct bus *bus, conn_id id) {
    struct conn_entry *seat = find_seat(bus, id);
    return seat == NULL || seat->is_closing ? NULL : seat;
}

bool bus_codec_of(struct bus *bus, conn_id id, uint32_t *codec) {
    uv_mutex_lock(&bus->lock);
    const struct conn_entry *seat = find_open_seat(bus, id);
    if (seat != NULL)
        *codec = codec_on(bus, conn_id_worker(id), seat->endpoint);
    uv_mutex_unlock(&bus->lock);
    return seat != NULL;
}

enum bus_result bus_send(struct bus *bus, conn_id id, uint32_t codec, struct message *message,
                         uint32_t *endpoint) {
    static const struct slice nowhere = {NULL, 0};
    struct calls calls = {0};
    enum bus_result result = BUS_NOBODY;
    uv_mutex_lock(&bus->lock);
    const struct conn_entry *seat = find_open_seat(bus, id);
    if (seat != NULL && codec_on(bus, conn_id_worker(id), seat->endpoint) == codec) {
        *endpoint = seat->endpoint;
        unsigned other = conn_id_worker(id);
        bool fits = bus_has_room(bus, other, mail_cost(nowhere, NULL, NULL, message));
        struct mail *mail = mail_new(fits ? MAIL_SEND : MAIL_LOST_SEND, nowhere, NULL, NULL);
        mail->id = id;
        if (fits)
            mail->message = message_ref(message);
        (fits ? bus_post : bus_lose)(bus, other, mail, &calls);
        result = fits ? BUS_SENT : BUS_LOST;
    }
    uv_mutex_unlock(&bus->lock);
    bus_call(bus, &calls);
    return result;
}

bool bus_close(struct bus *bus, conn_id id, unsigned code, struct slice reason) {
    struct calls calls = {0};
    uv_mutex_lock(&bus->lock);
    struct conn_entry *seat = find_open_seat(bus, id);
    bool is_there = seat != NULL;
    if (is_there) {
        seat->is_closing = true;
        struct mail *mail = mail_new(MAIL_CLOSE, reason, NULL, NULL);
        mail->id = id;
        mail->code = code;
        bus_post(bus, conn_id_worker(id), mail, &calls);
    }
    uv_mutex_unlock(&bus->lock);
    bus_call(bus, &calls);
    return is_there;
}
