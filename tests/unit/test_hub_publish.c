/* test_hub_publish.c -- the receivers of broadcasts, with fake sockets and fake scripts. */
#include "base/log/log.h"
#include "core/hub/hub_internal.h"
#include "publish_as.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- a hub, its sockets and its scripts ---- */

enum { CLIENTS = 12, MOST_BYTES = 4096 };

/* A socket: takes everything, or nothing at all. */
struct client {
    conn_id id;
    bool deaf;
    unsigned char bytes[MOST_BYTES]; /* what it took, as far as it fits */
    size_t len;
    const unsigned char *last_from; /* where the last write's bytes were */
    unsigned close_code;            /* of on_close */
    uint32_t lobby_at_close;        /* how many were in the lobby then */
};

#define NOTHING ((struct slice){NULL, 0})

static struct hub *hub;
static struct client clients[CLIENTS];
static size_t client_count;

static const struct slice LOBBY = {"lobby", 5};

static uint64_t no_time(void *clock) {
    return 1000;
}

static size_t wire_write(void *peer, const unsigned char *bytes, size_t len) {
    struct client *client = peer;
    if (client->deaf)
        return 0;
    if (client->len + len <= MOST_BYTES)
        memcpy(client->bytes + client->len, bytes, len);
    client->len += len;
    client->last_from = bytes;
    return len;
}

static void wire_pause(void *peer, bool paused) {
}

static void wire_end(void *peer) {
}

static uint64_t wire_quiet_ms(void *peer) {
    return UINT64_MAX;
}

static const struct wire wire = {
    .write = wire_write,
    .pause = wire_pause,
    .end = wire_end,
    .kill = wire_end,
    .quiet_ms = wire_quiet_ms,
};

static uint32_t size_of(struct slice name) {
    const struct room *room = room_find(&hub->rooms, name);
    return room == NULL ? 0 : room->count;
}

static enum hook_state on_event(void *user, struct conn *conn) {
    return HOOK_DONE;
}

static enum hook_state on_closed(void *user, struct conn *conn, unsigned code, const char *reason,
                                 size_t len) {
    for (size_t i = 0; i < client_count; i++) {
        if (clients[i].id != hub_id_of(conn))
            continue;
        assert_int_equal(clients[i].close_code, 0); /* once */
        clients[i].close_code = code;
        clients[i].lobby_at_close = size_of(LOBBY);
    }
    return HOOK_DONE;
}

static void on_forgotten(void *user, struct conn *conn) {
}

/* The calls of on_presence_changed, as "+0lobby:info " and "-0lobby:info "; the number is the
 * client's. */
static char told[256];
static uint32_t leave_at_once; /* clients that leave the lobby when another has left, as bits */

static void on_presence_changed(void *user, const struct presence *presence) {
    const char *info = presence->info;
    size_t index = 0, len = strlen(told);
    while (clients[index].id != presence->id)
        index++;
    snprintf(told + len, sizeof(told) - len, "%c%zu%.*s:%s ",
             presence->change == PRESENCE_JOINED ? '+' : '-', index, (int)presence->room.len,
             presence->room.bytes, info == NULL ? "" : info);
    uint32_t leavers = leave_at_once;
    leave_at_once = 0;
    for (size_t i = 0; leavers >> i != 0; i++)
        if (leavers >> i & 1)
            hub_leave(hub, clients[i].id, LOBBY);
}

static const struct hub_events events = {
    .opened = on_event,
    .ping = on_event,
    .timeout = on_event,
    .drained = on_event,
    .closed = on_closed,
    .presence_changed = on_presence_changed,
    .forgotten = on_forgotten,
};

/* Endpoints, by number. Only a first message has room in the queue of a deaf client. */
enum { CHAT, GAME, BINARY, DROPPING, ENDPOINTS };

static int set_up(void **state) {
    static const struct endpoint endpoints[ENDPOINTS] = {
        [CHAT] = {.max_backlog = 1, .codec = 0},
        [GAME] = {.max_backlog = 1, .codec = 0},
        [BINARY] = {.max_backlog = 1, .codec = 1},
        [DROPPING] = {.max_backlog = 1, .codec = 0, .slow_client = SLOW_CLIENT_DROP},
    };
    hub = hub_new(&(struct hub_options){.now_ms = no_time});
    hub_set_events(hub, &events, NULL);
    hub_set_wire(hub, &wire);
    for (int i = 0; i < ENDPOINTS; i++)
        hub_add_endpoint(hub, &endpoints[i]);
    return 0;
}

static struct conn *conn_of(const struct client *client) {
    return hub_find(hub, client->id);
}

/* All sockets end; nothing may be left. */
static void all_gone(void) {
    for (size_t i = 0; i < client_count; i++)
        if (conn_of(&clients[i]) != NULL)
            hub_gone(hub, conn_of(&clients[i]), 1006);
    hub_turn_end(hub);
    assert_int_equal(hub_admitted(hub), 0);
    assert_int_equal(hub->rooms.count, 0);
    memset(clients, 0, sizeof(clients));
    client_count = 0;
}

static void check_told(const char *expected) {
    assert_string_equal(told, expected);
    told[0] = '\0';
}

static int tear_down(void **state) {
    all_gone();
    hub_free(hub);
    return 0;
}

static struct client *connect_to(uint32_t endpoint) {
    assert_true(client_count < CLIENTS);
    struct client *client = &clients[client_count++];
    struct conn *conn = hub_admit(hub, false);
    assert_non_null(conn);
    hub_assign(hub, conn, endpoint);
    client->id = conn->id;
    hub_open(hub, conn, client);
    hub_turn_end(hub);
    return client;
}

/* A client that is in the lobby. */
static struct client *enter(uint32_t endpoint) {
    struct client *client = connect_to(endpoint);
    assert_true(hub_join(hub, client->id, LOBBY, NOTHING));
    return client;
}

static struct audience to_lobby(void) {
    return (struct audience){.room = LOBBY, .endpoint = ANY_ENDPOINT};
}

static struct audience to_all(void) {
    return (struct audience){.endpoint = ANY_ENDPOINT};
}

static uint32_t publish(struct audience audience, const char *text) {
    return publish_as(hub, &audience, message_new(OPCODE_TEXT, text, strlen(text)));
}

/* Ends the turn; then the client must have got exactly these messages, of a letter each, since the
 * last time. */
static void check_got(struct client *client, const char *letters) {
    hub_turn_end(hub);
    assert_int_equal(client->len, 3 * strlen(letters));
    for (size_t i = 0; letters[i] != '\0'; i++)
        assert_memory_equal(client->bytes + 3 * i,
                            ((unsigned char[]){0x81, 1, (unsigned char)letters[i]}), 3);
    client->len = 0;
}

/* ---- receivers ---- */

static void test_everyone_gets_it_once_and_in_order(void **state) {
    struct client *members[3], *other = connect_to(CHAT);
    for (int i = 0; i < 3; i++)
        members[i] = enter(CHAT);
    assert_int_equal(publish(to_lobby(), "a"), 3);
    hub_send(hub, conn_of(members[1]), OPCODE_TEXT, "b", 1);
    assert_int_equal(publish(to_lobby(), "c"), 3);
    assert_int_equal(publish(to_all(), "d"), 4);
    check_got(members[0], "acd");
    check_got(members[1], "abcd");
    check_got(members[2], "acd");
    check_got(other, "d");
}

static void test_nobody_is_there(void **state) {
    struct client *other = connect_to(CHAT);
    assert_int_equal(publish(to_lobby(), "a"), 0);
    hub_join(hub, other->id, slice_of("elsewhere"), NOTHING);
    assert_int_equal(publish(to_lobby(), "b"), 0);
    assert_int_equal(hub->rooms.count, 1);
    check_got(other, "");
}

static void test_membership_of_the_moment(void **state) {
    struct client *ada = enter(CHAT), *bob = connect_to(CHAT);
    assert_int_equal(publish(to_lobby(), "a"), 1);
    hub_join(hub, bob->id, LOBBY, NOTHING);
    assert_int_equal(publish(to_lobby(), "b"), 2);
    hub_leave(hub, ada->id, LOBBY);
    assert_int_equal(publish(to_lobby(), "c"), 1);
    check_got(ada, "ab");
    check_got(bob, "bc");
}

static void test_except(void **state) {
    struct client *ada = enter(CHAT), *bob = enter(CHAT), *eve = connect_to(CHAT);
    struct audience audience = to_lobby();
    audience.except = bob->id;
    assert_int_equal(publish(audience, "a"), 1);
    audience.except = eve->id; /* not in the room */
    assert_int_equal(publish(audience, "b"), 2);
    audience.room = (struct slice){NULL, 0};
    assert_int_equal(publish(audience, "c"), 2);
    check_got(ada, "abc");
    check_got(bob, "bc");
    check_got(eve, "");
    hub_gone(hub, conn_of(bob), 1006);
    hub_turn_end(hub);
    struct client *heir = enter(CHAT); /* has bob's slot */
    audience = to_lobby();
    audience.except = bob->id;
    assert_int_equal(publish(audience, "d"), 2);
    check_got(heir, "d");
}

static void test_endpoint(void **state) {
    struct client *chat = enter(CHAT), *game = enter(GAME), *outside = connect_to(GAME);
    struct audience audience = to_all();
    audience.endpoint = GAME;
    assert_int_equal(publish(audience, "a"), 2);
    audience.endpoint = CHAT;
    assert_int_equal(publish(audience, "b"), 1);
    audience.endpoint = DROPPING; /* has no connections */
    assert_int_equal(publish(audience, "c"), 0);
    check_got(chat, "b");
    check_got(game, "a");
    check_got(outside, "a");
}

static void test_codec(void **state) {
    struct client *chat = enter(CHAT), *binary = enter(BINARY), *game = enter(GAME);
    struct audience audience = to_lobby();
    assert_int_equal(publish(audience, "a"), 2);
    audience.codec = 1;
    assert_int_equal(publish(audience, "b"), 1);
    audience.codec = 2;
    assert_int_equal(publish(audience, "c"), 0);
    audience = to_all();
    audience.codec = 1;
    assert_int_equal(publish(audience, "d"), 1);
    check_got(chat, "a");
    check_got(binary, "bd");
    check_got(game, "a");
}

/* Not those whose handshake is not answered yet, nor those that close. */
static void test_only_the_open_ones(void **state) {
    struct client *open = enter(CHAT), *closing = enter(CHAT), *gone = enter(CHAT);
    struct conn *unknown = hub_admit(hub, false), *handshake = hub_admit(hub, false);
    hub_assign(hub, handshake, CHAT); /* the other one may still be refused by `validate` */
    assert_false(hub_join(hub, handshake->id, LOBBY, NOTHING));
    hub_close(hub, closing->id, 1000, "", 0);
    hub_gone(hub, conn_of(gone), 1006);
    assert_int_equal(publish(to_lobby(), "a"), 1);
    assert_int_equal(publish(to_all(), "b"), 1);
    for (int i = 0; i < 2; i++) {
        assert_false(hub_join(hub, closing->id, LOBBY, NOTHING));
        assert_false(hub_leave(hub, closing->id, LOBBY));
        assert_false(hub_join(hub, gone->id, LOBBY, NOTHING));
        assert_false(hub_leave(hub, gone->id, LOBBY));
        hub_turn_end(hub); /* then on_close has run */
    }
    assert_int_equal(size_of(LOBBY), 1);
    check_got(open, "ab");
    hub_abandon(hub, handshake);
    hub_abandon(hub, unknown);
}

/* However a connection ends, it has left its rooms before on_close. */
static void test_whoever_closes_has_left(void **state) {
    for (int way = 0; way < 4; way++) {
        struct client *ada = enter(CHAT), *bob = enter(CHAT);
        hub_join(hub, ada->id, slice_of("of her own"), NOTHING);
        if (way == 0)
            hub_close(hub, ada->id, 1000, "", 0);
        else if (way == 1)
            hub_peer_closed(hub, conn_of(ada), 1000, "", 0);
        else if (way == 2)
            hub_gone(hub, conn_of(ada), 1006);
        else
            hub_fail(hub, conn_of(ada), 1002, "broken");
        assert_int_equal(size_of(LOBBY), 1); /* at once */
        assert_int_equal(size_of(slice_of("of her own")), 0);
        hub_turn_end(hub);
        assert_int_not_equal(ada->close_code, 0);
        assert_int_equal(ada->lobby_at_close, 1);
        assert_int_equal(publish(to_lobby(), "a"), 1);
        check_got(bob, "a");
        all_gone();
    }
}

/* ---- one message for all ---- */

/* Its references, without the spare ones of the hub. */
static unsigned count_of(struct message *message) {
    ref_cache_flush(&hub->ref_cache);
    return atomic_load(&message->refs);
}

static void test_all_hold_the_same_message(void **state) {
    enum { LARGE = 1000 * 1000 }; /* so large that it is written from where it is */
    char *payload = calloc(1, LARGE);
    struct message *message = message_new(OPCODE_BINARY, payload, LARGE);
    struct client *members[3];
    for (int i = 0; i < 3; i++)
        members[i] = enter(CHAT);
    enter(BINARY); /* not meant: holds nothing */
    members[2]->deaf = true;
    struct audience audience = to_lobby();
    assert_int_equal(publish_as(hub, &audience, message_ref(message)), 3);
    assert_int_equal(count_of(message), 1 + 3);
    do
        hub_turn_end(hub);
    while (hub_has_pending(hub));
    assert_int_equal(count_of(message), 1 + 1); /* the client that reads has it */
    for (int i = 0; i < 2; i++)
        assert_in_range((uintptr_t)members[i]->last_from, (uintptr_t)message->bytes,
                        (uintptr_t)(message->bytes + message->len));
    assert_int_equal(members[0]->len, message->len);
    members[2]->deaf = false;
    hub_writable(hub, conn_of(members[2]));
    while (hub_has_pending(hub))
        hub_turn_end(hub);
    assert_int_equal(members[2]->len, message->len);
    assert_int_equal(count_of(message), 1);
    audience.codec = 5; /* of no connection */
    assert_int_equal(publish_as(hub, &audience, message_ref(message)), 0);
    assert_int_equal(count_of(message), 1);
    message_unref(message);
    free(payload);
}

/* ---- slow receivers ---- */

/* One message waits in the queue of each deaf client, which has no room for another. */
static void make_slow(struct client *client) {
    client->deaf = true;
    hub_send(hub, conn_of(client), OPCODE_TEXT, "-", 1);
    hub_turn_end(hub);
}

/* A bit of `slow` for each of `count` members, in the order of the room. */
static void check_slow_ones(struct audience audience, uint32_t count, uint32_t slow) {
    uint32_t quick = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct client *client = enter(CHAT);
        if (slow >> i & 1)
            make_slow(client);
        else
            quick++;
    }
    struct message *message = message_new(OPCODE_TEXT, "a", 1);
    assert_int_equal(publish_as(hub, &audience, message_ref(message)), quick);
    assert_int_equal(count_of(message), 1 + quick);
    assert_int_equal(size_of(LOBBY), quick);
    assert_int_equal(hub->rooms.count, quick > 0);
    hub_turn_end(hub);
    assert_int_equal(count_of(message), 1);
    message_unref(message);
    for (uint32_t i = 0; i < count; i++) {
        bool is_slow = slow >> i & 1;
        assert_int_equal(clients[i].close_code, is_slow ? 1008 : 0);
        if (is_slow)
            assert_int_equal(clients[i].lobby_at_close, quick);
        check_got(&clients[i], is_slow ? "" : "a");
    }
    assert_int_equal(publish(audience, "b"), quick);
    all_gone();
}

/* Any of the members is closed while the room is walked, up to all of them. */
static void test_slow_ones_are_closed_during_the_walk(void **state) {
    for (uint32_t count = 1; count <= 7; count++) {
        for (uint32_t slow = 0; slow < 1u << count; slow++) {
            check_slow_ones(to_lobby(), count, slow);
            check_slow_ones(to_all(), count, slow);
        }
    }
}

/* What is left for a slow one is the Close frame. */
static void test_a_slow_one_is_told(void **state) {
    struct client *ada = enter(CHAT);
    make_slow(ada);
    assert_int_equal(publish(to_lobby(), "a"), 0);
    hub_turn_end(hub);
    ada->deaf = false;
    hub_writable(hub, conn_of(ada));
    assert_int_equal(ada->len, 4 + strlen("slow client"));
    assert_memory_equal(ada->bytes, "\x88\x0d\x03\xf0slow client", ada->len);
}

/* With "drop" it stays, misses the messages without room, and gets later ones. */
static void test_drop(void **state) {
    struct client *members[3];
    for (int i = 0; i < 3; i++)
        members[i] = enter(DROPPING);
    make_slow(members[1]);
    assert_int_equal(publish(to_lobby(), "a"), 2);
    assert_int_equal(publish(to_lobby(), "b"), 2);
    assert_int_equal(stats_read(&hub->stats.messages_dropped), 2);
    assert_int_equal(size_of(LOBBY), 3);
    check_got(members[1], "");
    members[1]->deaf = false;
    hub_writable(hub, conn_of(members[1]));
    assert_int_equal(publish(to_lobby(), "c"), 3);
    check_got(members[0], "abc");
    check_got(members[1], "-c");
    check_got(members[2], "abc");
    assert_int_equal(members[1]->close_code, 0);
}

/* A script that learns of a connection closed during the walk may let others leave at once. Those
 * that stay get the message; the hub does not touch those that have left. */
static void test_others_leave_during_the_walk(void **state) {
    enum { MEMBERS = 5, ALL = 1 << MEMBERS };
    hub_watch(hub, LOBBY, true);
    for (uint32_t slow = 1; slow < ALL; slow++) {
        for (uint32_t leavers = 0; leavers < ALL; leavers++) {
            for (uint32_t i = 0; i < MEMBERS; i++) {
                struct client *client = enter(CHAT);
                if (slow >> i & 1)
                    make_slow(client);
            }
            leave_at_once = leavers;
            publish(to_lobby(), "a");
            hub_turn_end(hub);
            for (uint32_t i = 0; i < MEMBERS; i++)
                if (!((slow | leavers) >> i & 1))
                    assert_true(clients[i].len >= 3);
            all_gone();
            told[0] = '\0';
        }
    }
}

/* ---- watches ---- */

static void test_watching(void **state) {
    hub_watch(hub, LOBBY, true);
    hub_watch(hub, LOBBY, true);
    struct client *ada = connect_to(CHAT), *bob = connect_to(CHAT);
    hub_join(hub, ada->id, LOBBY, slice_of("1"));
    check_told("+0lobby:1 ");
    hub_join(hub, ada->id, LOBBY, slice_of("2")); /* she is in already */
    hub_join(hub, bob->id, slice_of("elsewhere"), (struct slice){NULL, 0});
    hub_leave(hub, bob->id, LOBBY); /* he is not in */
    check_told("");
    hub_join(hub, bob->id, LOBBY, (struct slice){NULL, 0});
    check_told("+1lobby: ");
    hub_leave(hub, ada->id, LOBBY);
    hub_leave(hub, ada->id, LOBBY);
    check_told("-0lobby:2 ");
    hub_watch(hub, slice_of("elsewhere"), true);
    hub_close(hub, bob->id, 1000, "", 0); /* reported at once, and once */
    check_told("-1lobby: -1elsewhere: ");
    hub_gone(hub, conn_of(bob), 1006);
    hub_turn_end(hub);
    hub_watch(hub, LOBBY, false);
    hub_join(hub, ada->id, LOBBY, (struct slice){NULL, 0});
    check_told("");
}

int main(void) {
    log_set_level(LOG_ERROR);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_everyone_gets_it_once_and_in_order),
        TEST(test_nobody_is_there),
        TEST(test_membership_of_the_moment),
        TEST(test_except),
        TEST(test_endpoint),
        TEST(test_codec),
        TEST(test_only_the_open_ones),
        TEST(test_whoever_closes_has_left),
        TEST(test_all_hold_the_same_message),
        TEST(test_slow_ones_are_closed_during_the_walk),
        TEST(test_a_slow_one_is_told),
        TEST(test_drop),
        TEST(test_others_leave_during_the_walk),
        TEST(test_watching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
