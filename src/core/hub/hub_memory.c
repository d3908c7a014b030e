/* hub_memory.c -- rooms with a memory, as one worker uses them. See room_memory.h.
 *
 * A replay is made of the messages themselves: it encodes and frames nothing, and its compressed
 * forms are those of the broadcasts. */
#include "core/hub/hub_internal.h"

void hub_memory_replay(struct hub *hub, struct conn *conn, struct slice room,
                       struct replay_request *request, struct replay *replay) {
    if (!hub_remembers(hub))
        return;
    request->id = conn->id;
    request->endpoint = conn->endpoint->number;
    request->codec = conn->endpoint->codec;
    bus_memory_replay(hub->options.bus, hub->options.worker, room, request, replay);
    for (uint32_t i = 0; i < replay->count; i++)
        if (!hub_send_replay(hub, conn, replay->messages[i]))
            return;
}

void hub_memory_set(struct hub *hub, const struct room_rule *rules, uint32_t count,
                    size_t max_bytes) {
    if (hub->options.bus != NULL)
        bus_memory_set(hub->options.bus, rules, count, max_bytes);
}

void hub_memory_list(struct hub *hub, struct slice room, const struct memory_query *query,
                     void (*f)(void *user, const struct remembered *remembered), void *user) {
    if (hub_remembers(hub))
        bus_memory_list(hub->options.bus, room, query, f, user);
}

bool hub_memory_position(struct hub *hub, struct slice room, uint64_t *epoch, uint64_t *offset) {
    return hub_remembers(hub) && bus_memory_position(hub->options.bus, room, epoch, offset);
}

void hub_memory_clear(struct hub *hub, struct slice room, const struct slice *key) {
    if (hub_remembers(hub))
        bus_memory_clear(hub->options.bus, room, key);
}
