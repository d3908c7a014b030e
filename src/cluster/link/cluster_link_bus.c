/* cluster_link_bus.c -- what a node does to the workers of its machine. See node.h. */
#include "cluster/link/cluster_link_parts.h"

static void publish(void *user, const struct broadcast *broadcast, const char *except,
                    const struct node_position *position, bool remember_only) {
    if (!remember_only)
        bus_link_publish(user, broadcast, except, position->offset);
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

static void reset_memory(void *user, struct slice room, uint64_t epoch, uint64_t offset) {
    (void)user, (void)room, (void)epoch, (void)offset;
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
        .reset_memory = reset_memory,
        .answer = answer,
        .server_state = server_state,
        .paths = bus_endpoint_paths(bus),
        .user = bus,
        .machine = machine,
        .room_live = room_live,
        .session = session,
    };
}
