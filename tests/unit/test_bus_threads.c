/* test_bus_threads.c -- hubs on real threads: each joins, leaves, broadcasts, sends, connects and
 * disconnects at random, at the same time as the others. Run it under ThreadSanitizer, too.
 *
 * Whoever broadcasts numbers its messages, for each room. So each receiver can judge what it gets
 * without knowing when the others acted: while it is a member, one sender's numbers come without
 * gap and without repetition; and at the end, when all have said a last thing, every member has
 * that. */
#include "base/log/log.h"
#include "base/mem.h"
#include "core/hub/hub_internal.h"
#include "publish_as.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <cmocka.h>

enum { WORKERS = 4, CLIENTS = 12, ROOMS = 6, STEPS = 6000, DIRECT = ROOMS };

/* What a message says. A frame of it is two bytes longer. */
struct interned {
    uint32_t worker; /* the sender; its worker speaks for all its clients */
    uint32_t room;   /* DIRECT: to one client */
    uint32_t number;
    uint32_t last; /* is it the last one? */
};

enum { FRAME = 2 + sizeof(struct interned) };

struct client {
    struct worker_ *worker;
    struct conn *conn;
    conn_id id;
    bool member[ROOMS];
    uint32_t heard[WORKERS][ROOMS + 1]; /* the last number; 0: none since it joined */
    bool heard_last[WORKERS][ROOMS];
};

struct worker_ {
    unsigned number;
    uint32_t random;
    struct hub *hub;
    struct client clients[CLIENTS];
    uint32_t said[ROOMS];
    uint32_t direct; /* numbers of direct messages */
    uv_thread_t thread;
};

static struct bus *bus;
static struct limit connection_limit;
static struct worker_ workers[WORKERS];
static _Atomic conn_id known[WORKERS * CLIENTS]; /* known ids, by client; they may be stale */
static uv_barrier_t barrier;
static const char *_Atomic wrong; /* the first failure that a worker saw */

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            wrong = #condition;                                                                    \
    } while (0)

static uint32_t chance(struct worker_ *worker, uint32_t limit) {
    worker->random = worker->random * 1664525 + 1013904223;
    return (worker->random >> 8) % limit;
}

static uint64_t no_time(void *clock) {
    return 1000;
}

/* ---- what clients get ---- */

static void hear(struct client *client, const struct interned *word) {
    uint32_t *heard = &client->heard[word->worker][word->room];
    if (word->room == DIRECT) {
        CHECK(word->number > *heard);
    } else {
        CHECK(client->member[word->room]);
        CHECK(*heard == 0 || word->number == *heard + 1);
        if (word->last)
            client->heard_last[word->worker][word->room] = true;
    }
    *heard = word->number;
}

static size_t wire_write(void *peer, const unsigned char *bytes, size_t len) {
    for (size_t at = 0; at < len; at += FRAME) {
        struct interned word;
        CHECK(bytes[at] == 0x82 && bytes[at + 1] == sizeof word && at + FRAME <= len);
        memcpy(&word, bytes + at + 2, sizeof word);
        hear(peer, &word);
    }
    return len;
}

static void wire_pause(void *peer, bool paused) {
}

static void wire_end(void *peer) {
}

static uint64_t wire_quiet_ms(void *peer) {
    return UINT64_MAX;
}

static const struct wire wire = {.write = wire_write,
                                 .pause = wire_pause,
                                 .end = wire_end,
                                 .kill = wire_end,
                                 .quiet_ms = wire_quiet_ms};

static enum hook_state on_event(void *user, struct conn *conn) {
    return HOOK_DONE;
}

static enum hook_state on_closed(void *user, struct conn *conn, unsigned code, const char *reason,
                                 size_t len) {
    return HOOK_DONE;
}

static void on_forgotten(void *user, struct conn *conn) {
}

static void on_presence_changed(void *user, const struct presence *presence) {
}

static const struct hub_events events = {.opened = on_event,
                                         .closed = on_closed,
                                         .forgotten = on_forgotten,
                                         .presence_changed = on_presence_changed};

/* ---- what they do ---- */

static struct slice room_name(uint32_t room) {
    static const char names[] = "room0room1room2room3room4room5";
    return (struct slice){names + 5 * room, 5};
}

static void connect_client(struct client *client) {
    struct worker_ *worker = client->worker;
    memset(client->member, 0, sizeof client->member);
    memset(client->heard, 0, sizeof client->heard);
    client->conn = hub_admit(worker->hub, false);
    if (client->conn == NULL)
        return; /* the limit is reached */
    CHECK(hub_assign(worker->hub, client->conn, 0));
    client->id = client->conn->id;
    known[worker->number * CLIENTS + (unsigned)(client - worker->clients)] = client->id;
    hub_open(worker->hub, client->conn, client);
}

static void disconnect(struct client *client) {
    struct conn *conn = client->conn;
    client->conn = NULL;
    hub_gone(client->worker->hub, conn, CLOSE_ABNORMAL);
}

static void join(struct client *client, uint32_t room) {
    if (!client->member[room])
        for (unsigned i = 0; i < WORKERS; i++)
            client->heard[i][room] = 0;
    char info[8];
    int len = snprintf(info, sizeof info, "%u", chance(client->worker, 1000));
    CHECK(hub_join(client->worker->hub, client->id, room_name(room),
                   (struct slice){info, (size_t)len}));
    client->member[room] = true;
}

/* Earlier messages leave at the turn's end, which may come later: the client gets them first. */
static void leave(struct client *client, uint32_t room) {
    CHECK(hub_leave(client->worker->hub, client->id, room_name(room)));
    hub_turn_end(client->worker->hub);
    client->member[room] = false;
}

static void say(struct worker_ *worker, uint32_t room, bool last) {
    struct interned word = {worker->number, room, ++worker->said[room], last};
    struct audience audience = {room_name(room), ANY_ENDPOINT, 0, 0};
    publish_as(worker->hub, &audience, message_new(OPCODE_BINARY, &word, sizeof word));
}

static void send_one(struct worker_ *worker) {
    conn_id id = known[chance(worker, WORKERS * CLIENTS)];
    struct interned word = {worker->number, DIRECT, ++worker->direct, false};
    if (id != 0)
        hub_send_anywhere(worker->hub, id, 0, message_new(OPCODE_BINARY, &word, sizeof word));
}

static void count_member(void *user, conn_id id, const char *remote_id, const char *name,
                         const char *info, struct slice user_name) {
    CHECK(info != NULL && strlen(info) < 8 && strcmp(name, "\"name\"") == 0);
    ++*(uint32_t *)user;
}

static void look(struct worker_ *worker, uint32_t room) {
    uint32_t count = 0, codec;
    struct stats_total total;
    hub_room_members(worker->hub, room_name(room), count_member, &count);
    CHECK(count <= WORKERS * CLIENTS);
    CHECK(hub_room_size(worker->hub, room_name(room)) <= WORKERS * CLIENTS);
    hub_codec_of(worker->hub, known[chance(worker, WORKERS * CLIENTS)], &codec);
    hub_watch(worker->hub, room_name(room), chance(worker, 2) == 0);
    hub_total(worker->hub, &total);
}

static void act(struct worker_ *worker) {
    struct client *client = &worker->clients[chance(worker, CLIENTS)];
    uint32_t what = chance(worker, 100), room = chance(worker, ROOMS);
    if (client->conn == NULL)
        connect_client(client);
    else if (what < 2)
        disconnect(client);
    else if (what < 20)
        join(client, room);
    else if (what < 34)
        leave(client, room);
    else if (what < 38)
        look(worker, room);
    else if (what < 50)
        send_one(worker);
    else
        say(worker, room, false);
    if (chance(worker, 3) == 0) {
        hub_take_mail(worker->hub);
        hub_turn_end(worker->hub);
    }
}

static void check_last_words(struct worker_ *worker) {
    for (int i = 0; i < CLIENTS; i++) {
        struct client *client = &worker->clients[i];
        for (uint32_t room = 0; client->conn != NULL && room < ROOMS; room++)
            for (unsigned sender = 0; client->member[room] && sender < WORKERS; sender++)
                CHECK(client->heard_last[sender][room]);
    }
}

static void run(void *argument) {
    struct worker_ *worker = argument;
    uv_barrier_wait(&barrier);
    for (int i = 0; i < STEPS; i++)
        act(worker);
    hub_turn_end(worker->hub);
    uv_barrier_wait(&barrier); /* no client connects or disconnects any more */
    for (uint32_t room = 0; room < ROOMS; room++)
        say(worker, room, true);
    uv_barrier_wait(&barrier); /* all has been said */
    hub_take_mail(worker->hub);
    hub_turn_end(worker->hub);
    check_last_words(worker);
    for (int i = 0; i < CLIENTS; i++)
        if (worker->clients[i].conn != NULL)
            disconnect(&worker->clients[i]);
    hub_end(worker->hub);
    bus_leave(bus, worker->number);
}

static void set_up(unsigned number, uint32_t seed) {
    struct worker_ *worker = &workers[number];
    *worker = (struct worker_){.number = number, .random = seed + number * 7919};
    worker->hub = hub_new(&(struct hub_options){
        .worker = number, .bus = bus, .limit = &connection_limit, .now_ms = no_time});
    hub_set_events(worker->hub, &events, worker);
    hub_set_wire(worker->hub, &wire);
    hub_add_endpoint(worker->hub, &(struct endpoint){.max_backlog = 1 << 20,
                                                     .json_name = mem_strdup("\"name\"")});
    bus_enter(bus, number, NULL, NULL, &worker->hub->stats);
    for (int i = 0; i < CLIENTS; i++)
        worker->clients[i].worker = worker;
}

static void test_storm(void **state) {
    const char *given = getenv("TIDEWIRE_TEST_SEED");
    uint32_t seed = given == NULL ? (uint32_t)uv_hrtime() : (uint32_t)atoi(given);
    print_message("TIDEWIRE_TEST_SEED=%u\n", seed);
    log_set_level(LOG_ERROR);
    bus = bus_new();
    bus_set_workers(bus, WORKERS);
    atomic_init(&connection_limit.max, WORKERS * CLIENTS - 5);
    uv_barrier_init(&barrier, WORKERS);
    for (unsigned i = 0; i < WORKERS; i++)
        set_up(i, seed);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(uv_thread_create(&workers[i].thread, run, &workers[i]), 0);
    for (unsigned i = 0; i < WORKERS; i++)
        uv_thread_join(&workers[i].thread);
    assert_null(wrong);
    assert_int_equal(connection_limit.taken, 0);
    for (uint32_t room = 0; room < ROOMS; room++)
        assert_int_equal(bus_room_size(bus, room_name(room)), 0);
    for (unsigned i = 0; i < WORKERS; i++)
        hub_free(workers[i].hub);
    bus_free(bus);
    uv_barrier_destroy(&barrier);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_storm)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
