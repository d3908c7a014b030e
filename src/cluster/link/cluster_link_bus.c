/* cluster_link_bus.c -- what a node does to the workers of its machine. See node.h. */
#include "cluster/link/cluster_link_parts.h"

static void publish(void *user, const struct broadcast *broadcast, const char *except,
                    const struct memory_position *position, bool remember_only) {
    bus_link_publish(user, broadcast, except, position, remember_only);
}

static void send(void *user, const char *id, const struct encoding *encodings, uint32_t count) {
    bus_link_send(user, id, encodings, count);
}

static void close_conn(void *user, const char *id, unsigned code, struct slice reason) {
    bus_link_close(user, id, code, reason);
}

static void member(void *user, enum presence_change change, struct slice room, const char *id,
                   const struct link_member *info) {
    bus_link_member(user, change, room, id, info);
}

static void forget_members(void *user, struct slice room) {
    bus_link_forget_members(user, room);
}

static void online(void *user, struct slice name, bool is_online) {
    bus_link_online(user, name, is_online);
}

static bool memory_limits(void *user, struct slice room,
                          struct memory_limits limits[MEMORY_KINDS]) {
    return bus_memory_limits(user, room, limits);
}

static void reset_memory(void *user, struct slice room, uint64_t epoch, uint64_t offset,
                         uint64_t dropped) {
    bus_link_reset_memory(user, room, epoch, offset, dropped);
}

static void clear_retained(void *user, struct slice room, struct slice key) {
    bus_link_clear_retained(user, room, key);
}

static void set_ordered(void *user, unsigned server, bool is_ordered) {
    bus_link_set_ordered(user, server, is_ordered);
}

static void answer(void *user, struct link_token token, enum link_status status,
                   struct slice body) {
    bus_link_answer(user, token, status, body);
}

static void server_state(void *user, unsigned server, bool up) {
    bus_link_set_up(user, server, up);
}

static void machine(void *user, const char *id, bool lives) {
    bus_link_set_machine(user, slice_of(id), lives);
}

static void room_live(void *user, struct slice room, bool is_live) {
    bus_link_set_live(user, room, is_live);
}

static void session(void *user, const char *id, enum session_step step) {
    bus_link_session(user, id, step);
}

struct node_bus cluster_link_bus(struct bus *bus) {
    return (struct node_bus){
        .publish = publish,
        .send = send,
        .close = close_conn,
        .member = member,
        .forget_members = forget_members,
        .online = online,
        .memory_limits = memory_limits,
        .reset_memory = reset_memory,
        .clear_retained = clear_retained,
        .set_ordered = set_ordered,
        .answer = answer,
        .server_state = server_state,
        .paths = bus_endpoint_paths(bus),
        .user = bus,
        .machine = machine,
        .room_live = room_live,
        .session = session,
    };
}
