/* test_room.c -- membership from both sides: the members of a room, the rooms of a connection. */
#include "core/hub/room.h"

#include "core/hub/conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOTHING ((struct slice){NULL, 0})

static uint32_t random_state = 31337;

static uint32_t random_below(uint32_t limit) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % limit;
}

enum { ENDPOINTS = 3, CONNS = 40 };

static struct endpoint endpoints[ENDPOINTS];

/* Connections of all three endpoints in turn, in no room. */
static struct conn *new_conns(void) {
    struct conn *conns = calloc(CONNS, sizeof(*conns));
    for (int i = 0; i < CONNS; i++)
        conns[i].endpoint = &endpoints[i % ENDPOINTS];
    return conns;
}

static uint32_t size_of(const struct table *rooms, const char *name) {
    const struct room *room = room_find(rooms, slice_of(name));
    return room == NULL ? 0 : room->count;
}

static bool has_member(const struct table *rooms, const char *name, const struct conn *conn) {
    const struct room *room = room_find(rooms, slice_of(name));
    for (uint32_t i = 0; room != NULL && i < room->count; i++)
        if (room->members[i]->conn == conn)
            return true;
    return false;
}

static uint32_t rooms_of(const struct conn *conn) {
    uint32_t count = 0;
    for (const struct member *member = conn->rooms; member != NULL; member = member->next)
        count++;
    return count;
}

/* How many members this endpoint has, as the room counts them. None must be listed twice, nor
 * without members. */
static uint32_t endpoint_members(const struct room *room, const struct endpoint *endpoint) {
    uint32_t members = 0;
    for (uint32_t i = 0; i < room->endpoint_count; i++) {
        assert_int_not_equal(room->endpoints[i].members, 0);
        if (room->endpoints[i].endpoint == endpoint) {
            assert_int_equal(members, 0);
            members = room->endpoints[i].members;
        }
    }
    return members;
}

/* What must be so in every room at any time. */
static void check_room(const struct room *room) {
    uint32_t of_endpoint[ENDPOINTS] = {0};
    for (uint32_t i = 0; i < room->count; i++) {
        const struct member *member = room->members[i];
        assert_int_equal(member->index, i);
        assert_ptr_equal(member->room, room);
        of_endpoint[member->conn->endpoint - endpoints]++;
    }
    for (int i = 0; i < ENDPOINTS; i++)
        assert_int_equal(endpoint_members(room, &endpoints[i]), of_endpoint[i]);
}

static void test_nobody(void **state) {
    struct table rooms = {0};
    struct conn *conns = new_conns();
    assert_null(room_find(&rooms, slice_of("lobby")));
    assert_false(room_leave(&rooms, slice_of("lobby"), &conns[0]));
    room_leave_all(&conns[0]);
    assert_int_equal(rooms.count, 0); /* a name that was looked up is not kept */
    table_close(&rooms);
    free(conns);
}

static void test_twice_is_as_good_as_once(void **state) {
    struct table rooms = {0};
    struct conn *conns = new_conns();
    assert_true(room_join(&rooms, slice_of("lobby"), &conns[0], NOTHING));
    assert_false(room_join(&rooms, slice_of("lobby"), &conns[0], NOTHING));
    assert_int_equal(size_of(&rooms, "lobby"), 1);
    assert_int_equal(rooms_of(&conns[0]), 1);
    check_room(room_find(&rooms, slice_of("lobby")));
    assert_true(room_join(&rooms, slice_of("lobby"), &conns[1], NOTHING));
    assert_false(room_join(&rooms, slice_of("lobby"), &conns[0], NOTHING));
    assert_int_equal(size_of(&rooms, "lobby"), 2);
    assert_true(room_leave(&rooms, slice_of("lobby"), &conns[0]));
    assert_false(room_leave(&rooms, slice_of("lobby"), &conns[0]));
    assert_false(has_member(&rooms, "lobby", &conns[0]));
    assert_true(has_member(&rooms, "lobby", &conns[1]));
    assert_null(conns[0].rooms);
    assert_true(room_leave(&rooms, slice_of("lobby"), &conns[1]));
    table_close(&rooms);
    free(conns);
}

/* The room has its own copy of the name, which may be of any bytes. */
static void test_names(void **state) {
    struct table rooms = {0};
    struct conn *conns = new_conns();
    char name[] = "a\0b";
    assert_true(room_join(&rooms, (struct slice){name, 3}, &conns[0], NOTHING));
    name[2] = 'c';
    assert_true(room_join(&rooms, (struct slice){name, 3}, &conns[0], NOTHING));
    assert_int_equal(rooms.count, 2);
    const struct room *room = room_find(&rooms, (struct slice){"a\0b", 3});
    assert_non_null(room);
    assert_int_equal(room->entry.key.len, 3);
    assert_memory_equal(room->entry.key.bytes, "a\0b", 3);
    assert_null(room_find(&rooms, slice_of("a")));
    assert_int_equal(rooms_of(&conns[0]), 2);
    room_leave_all(&conns[0]);
    table_close(&rooms);
    free(conns);
}

static void test_a_room_is_gone_with_its_last_member(void **state) {
    struct table rooms = {0};
    struct conn *conns = new_conns();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < CONNS; i++)
            assert_true(room_join(&rooms, slice_of("lobby"), &conns[i], NOTHING));
        assert_int_equal(rooms.count, 1);
        for (int i = 0; i < CONNS; i++) {
            assert_non_null(room_find(&rooms, slice_of("lobby")));
            assert_true(room_leave(&rooms, slice_of("lobby"), &conns[i]));
        }
        assert_null(room_find(&rooms, slice_of("lobby")));
        assert_int_equal(rooms.count, 0);
    }
    table_close(&rooms);
    free(conns);
}

/* Whichever member leaves, the others stay, once each. */
static void test_leaving_from_every_place(void **state) {
    enum { MOST = 9 }; /* past the first growth of the room's table */
    struct table rooms = {0};
    struct conn *conns = new_conns();
    for (uint32_t count = 1; count <= MOST; count++) {
        for (uint32_t leaver = 0; leaver < count; leaver++) {
            for (uint32_t i = 0; i < count; i++)
                assert_true(room_join(&rooms, slice_of("lobby"), &conns[i], NOTHING));
            assert_true(room_leave(&rooms, slice_of("lobby"), &conns[leaver]));
            assert_int_equal(size_of(&rooms, "lobby"), count - 1);
            for (uint32_t i = 0; i < count; i++)
                assert_int_equal(has_member(&rooms, "lobby", &conns[i]), i != leaver);
            if (count > 1)
                check_room(room_find(&rooms, slice_of("lobby")));
            for (uint32_t i = 0; i < count; i++)
                room_leave_all(&conns[i]);
            assert_int_equal(rooms.count, 0);
        }
    }
    table_close(&rooms);
    free(conns);
}

static void test_leaving_all(void **state) {
    static const char *const names[] = {"one", "two", "three", "four", "five"};
    enum { NAMES = sizeof(names) / sizeof(names[0]) };
    struct table rooms = {0};
    struct conn *conns = new_conns();
    for (int i = 0; i < NAMES; i++) {
        room_join(&rooms, slice_of(names[i]), &conns[0], NOTHING);
        if (i % 2 == 0)
            room_join(&rooms, slice_of(names[i]), &conns[1], NOTHING);
    }
    assert_int_equal(rooms_of(&conns[0]), NAMES);
    room_leave_all(&conns[0]);
    assert_null(conns[0].rooms);
    assert_int_equal(rooms.count, 3); /* those of the other */
    for (int i = 0; i < NAMES; i++)
        assert_int_equal(size_of(&rooms, names[i]), i % 2 == 0);
    assert_int_equal(rooms_of(&conns[1]), 3);
    room_leave_all(&conns[0]);
    room_leave_all(&conns[1]);
    assert_int_equal(rooms.count, 0);
    table_close(&rooms);
    free(conns);
}

/* An endpoint is listed as long as it has a member, and no longer. */
static void test_endpoints(void **state) {
    struct table rooms = {0};
    struct conn *conns = new_conns();
    struct slice name = slice_of("lobby");
    room_join(&rooms, name, &conns[0], NOTHING);
    const struct room *room = room_find(&rooms, name);
    assert_int_equal(room->endpoint_count, 1);
    room_join(&rooms, name, &conns[ENDPOINTS], NOTHING); /* of the same */
    assert_int_equal(room->endpoint_count, 1);
    assert_int_equal(endpoint_members(room, &endpoints[0]), 2);
    room_join(&rooms, name, &conns[1], NOTHING);
    room_join(&rooms, name, &conns[2], NOTHING);
    assert_int_equal(room->endpoint_count, 3);
    room_join(&rooms, name, &conns[1], NOTHING); /* is in already: not counted again */
    assert_int_equal(endpoint_members(room, &endpoints[1]), 1);
    room_leave(&rooms, name, &conns[0]);
    assert_int_equal(room->endpoint_count, 3);
    room_leave(&rooms, name, &conns[ENDPOINTS]);
    assert_int_equal(room->endpoint_count, 2);
    assert_int_equal(endpoint_members(room, &endpoints[0]), 0);
    assert_int_equal(endpoint_members(room, &endpoints[2]), 1);
    room_join(&rooms, name, &conns[0], NOTHING); /* and back */
    assert_int_equal(room->endpoint_count, 3);
    check_room(room);
    for (int i = 0; i < ENDPOINTS; i++)
        room_leave(&rooms, name, &conns[i]);
    table_close(&rooms);
    free(conns);
}

/* ---- a long life ---- */

enum { ROOMS = 12 };

struct model {
    bool in[CONNS][ROOMS];
    struct conn *conns;
    struct table rooms;
    char names[ROOMS][24];
};

static void check_model(const struct model *model) {
    uint32_t rooms = 0, of_conn[CONNS] = {0};
    for (int r = 0; r < ROOMS; r++) {
        uint32_t count = 0;
        for (int c = 0; c < CONNS; c++) {
            assert_int_equal(has_member(&model->rooms, model->names[r], &model->conns[c]),
                             model->in[c][r]);
            count += model->in[c][r];
            of_conn[c] += model->in[c][r];
        }
        const struct room *room = room_find(&model->rooms, slice_of(model->names[r]));
        assert_int_equal(room == NULL, count == 0);
        if (room != NULL) {
            assert_int_equal(room->count, count);
            check_room(room);
            rooms++;
        }
    }
    assert_int_equal(model->rooms.count, rooms);
    for (int c = 0; c < CONNS; c++)
        assert_int_equal(rooms_of(&model->conns[c]), of_conn[c]);
}

static void step(struct model *model, bool fills) {
    uint32_t c = random_below(CONNS), r = random_below(ROOMS);
    struct slice name = slice_of(model->names[r]);
    if (random_below(60) == 0) {
        room_leave_all(&model->conns[c]);
        memset(model->in[c], 0, sizeof(model->in[c]));
    } else if (random_below(10) < (fills ? 7u : 3u)) {
        assert_int_equal(room_join(&model->rooms, name, &model->conns[c], NOTHING),
                         !model->in[c][r]);
        model->in[c][r] = true;
    } else {
        assert_int_equal(room_leave(&model->rooms, name, &model->conns[c]), model->in[c][r]);
        model->in[c][r] = false;
    }
}

static void test_against_a_model(void **state) {
    struct model model = {.conns = new_conns()};
    for (int r = 0; r < ROOMS; r++)
        snprintf(model.names[r], sizeof(model.names[r]), "room %d", r);
    for (int i = 0; i < 6000; i++) {
        step(&model, i / 1500 % 2 == 0);
        if (i % 5 == 0)
            check_model(&model);
    }
    for (int c = 0; c < CONNS; c++) {
        room_leave_all(&model.conns[c]);
        memset(model.in[c], 0, sizeof(model.in[c]));
        check_model(&model);
    }
    table_close(&model.rooms);
    free(model.conns);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody),
        cmocka_unit_test(test_twice_is_as_good_as_once),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_a_room_is_gone_with_its_last_member),
        cmocka_unit_test(test_leaving_from_every_place),
        cmocka_unit_test(test_leaving_all),
        cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_against_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
