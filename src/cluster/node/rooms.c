/* rooms.c -- the rooms that concern this machine: those with members, watches or requests here.
 *
 * The first hold subscribes the room's channel; some time after the last one the channel is
 * unsubscribed, because rooms often become empty for a moment only. When the server has confirmed
 * the subscription, the parts for members and history read what the room has; what arrives
 * meanwhile is theirs to keep. Then the room is live. After an outage it goes the same way
 * again. */
#include "cluster/node/node_parts.h"

#include "base/mem.h"

/* How long a channel stays subscribed after the last hold, how long a request waits for its room,
 * how many rooms are read at the same time. */
enum { LINGER_MS = 10000, WAIT_MS = 5000, READERS_MAX = 64 };

/* A LINK_ROOM_SYNC. */
struct waiter {
    struct list in_room, in_node;
    struct cluster_room *room;
    struct link_token token;
    uint64_t until_ms;
};

struct cluster_room *rooms_find(const struct node *node, struct slice name) {
    struct table_entry *entry = table_find(&node->rooms_by_name, name);
    return entry == NULL ? NULL : TABLE_OWNER(entry, struct cluster_room, entry);
}

static struct slice channel_of(struct cluster_room *room) {
    return node_key(room->node, room->partition, "c", rooms_name(room));
}

static bool is_up(const struct cluster_room *room) {
    return room->node->servers[room->server].is_up;
}

static void set_live(struct cluster_room *room, bool is_live) {
    struct node *node = room->node;
    if (is_live != (room->state == ROOM_LIVE)) {
        node->figures.rooms_live += is_live ? 1 : (uint64_t)-1;
        if (node->bus.room_live != NULL)
            node->bus.room_live(node->bus.user, rooms_name(room), is_live);
    }
    room->state = is_live ? ROOM_LIVE : ROOM_SUBSCRIBING;
}

/* ---- life ---- */

static struct cluster_room *room_new(struct node *node, struct slice name) {
    struct cluster_room *room = mem_zalloc(sizeof *room + name.len);
    memcpy(room->name, name.bytes, name.len);
    room->entry.key = (struct slice){room->name, name.len};
    room->node = node;
    room->partition = partitions_of(name);
    room->server = partitions_server(room->partition, node->redis.count);
    room->state = ROOM_SUBSCRIBING;
    room->held_ms = node->now_ms;
    list_init(&room->reading);
    list_init(&room->waiters);
    list_append(&node->rooms, &room->link);
    table_add(&node->rooms_by_name, &room->entry);
    node->redis.subscribe(node->redis.user, room->server, channel_of(room));
    return room;
}

static void room_free(struct cluster_room *room) {
    struct node *node = room->node;
    set_live(room, false);
    mirror_end(room);
    history_end(room);
    node_stop_timer(node, &room->end);
    list_remove(&room->reading);
    list_remove(&room->link);
    table_remove(&node->rooms_by_name, &room->entry);
    peers_close_senders(&room->senders);
    mem_free(room);
}

static void on_end(struct node *node, struct node_timer *timer) {
    struct cluster_room *room = NODE_TIMER_OWNER(timer, struct cluster_room, end);
    /* The parts still have commands under way, or the server has not confirmed the subscription:
     * what comes later must find the room. */
    if (room->parts > 0 || (is_up(room) && !room->is_subscribed)) {
        node_set_timer(node, timer, node->now_ms + LINGER_MS, on_end);
        return;
    }
    node->redis.unsubscribe(node->redis.user, room->server, channel_of(room));
    room_free(room);
}

struct cluster_room *rooms_hold(struct node *node, struct slice name) {
    struct cluster_room *room = rooms_find(node, name);
    if (room == NULL)
        room = room_new(node, name);
    if (room->holds++ == 0)
        node_stop_timer(node, &room->end);
    return room;
}

void rooms_drop(struct cluster_room *room) {
    if (--room->holds == 0)
        node_set_timer(room->node, &room->end, room->node->now_ms + LINGER_MS, on_end);
}

void rooms_watch(struct node *node, struct slice name, bool on) {
    if (on) {
        rooms_hold(node, name)->watches++;
        return;
    }
    struct cluster_room *room = rooms_find(node, name);
    if (room == NULL || room->watches == 0)
        return;
    room->watches--;
    rooms_drop(room);
}

/* ---- requests that wait for a room ---- */

static void end_waiter(struct waiter *waiter, enum link_status status) {
    struct node *node = waiter->room->node;
    list_remove(&waiter->in_room);
    list_remove(&waiter->in_node);
    node->bus.answer(node->bus.user, waiter->token, status, (struct slice){NULL, 0});
    rooms_drop(waiter->room);
    mem_free(waiter);
}

static void end_waiters(struct cluster_room *room, enum link_status status) {
    while (!list_empty(&room->waiters))
        end_waiter(LIST_OWNER(room->waiters.next, struct waiter, in_room), status);
}

static void on_waited(struct node *node, struct node_timer *timer) {
    while (!list_empty(&node->waiters)) {
        struct waiter *oldest = LIST_OWNER(node->waiters.next, struct waiter, in_node);
        if (oldest->until_ms > node->now_ms) {
            node_set_timer(node, timer, oldest->until_ms, on_waited);
            return;
        }
        end_waiter(oldest, LINK_TIMED_OUT);
    }
}

void rooms_sync(struct node *node, struct slice name, struct link_token token) {
    if (name.len == 0) {
        node->bus.answer(node->bus.user, token, LINK_REFUSED, slice_of("the room has no name"));
        return;
    }
    struct cluster_room *room = rooms_hold(node, name);
    struct waiter *waiter = mem_zalloc(sizeof *waiter);
    waiter->room = room;
    waiter->token = token;
    waiter->until_ms = node->now_ms + WAIT_MS;
    if (list_empty(&node->waiters))
        node_set_timer(node, &node->waiting, waiter->until_ms, on_waited);
    list_append(&room->waiters, &waiter->in_room);
    list_append(&node->waiters, &waiter->in_node);
    if (room->state == ROOM_LIVE)
        end_waiter(waiter, LINK_OK);
    else if (!is_up(room))
        end_waiter(waiter, LINK_UNREACHABLE);
}

/* ---- from subscribed to live ---- */

static void read_soon(struct cluster_room *room) {
    if (room->state == ROOM_SUBSCRIBING && room->is_subscribed && is_up(room) && room->parts == 0) {
        list_remove(&room->reading);
        list_append(&room->node->reading, &room->reading);
    }
}

void rooms_turn(struct node *node) {
    while (node->readers < READERS_MAX && !list_empty(&node->reading)) {
        struct cluster_room *room = LIST_OWNER(node->reading.next, struct cluster_room, reading);
        list_remove(&room->reading);
        room->state = ROOM_READING;
        room->parts = 2;
        node->readers++;
        mirror_begin(room);
        history_begin(room);
    }
}

void rooms_part_done(struct cluster_room *room) {
    if (--room->parts > 0)
        return;
    room->node->readers--;
    if (room->state == ROOM_READING) {
        set_live(room, true);
        end_waiters(room, LINK_OK);
    } else { /* an outage came between */
        read_soon(room);
    }
}

void rooms_read_again(struct cluster_room *room) {
    if (room->state != ROOM_LIVE)
        return;
    set_live(room, false);
    read_soon(room);
}

void rooms_subscribed(struct node *node, struct slice name) {
    struct cluster_room *room = rooms_find(node, name);
    if (room == NULL)
        return;
    room->is_subscribed = true;
    if (room->since_ms == 0)
        room->since_ms = node->now_ms;
    read_soon(room);
}

void rooms_up(struct node *node, unsigned server) {
    for (struct list *link = node->rooms.next; link != &node->rooms; link = link->next) {
        struct cluster_room *room = LIST_OWNER(link, struct cluster_room, link);
        if (room->server == server)
            read_soon(room);
    }
}

void rooms_down(struct node *node, unsigned server) {
    for (struct list *link = node->rooms.next; link != &node->rooms; link = link->next) {
        struct cluster_room *room = LIST_OWNER(link, struct cluster_room, link);
        if (room->server != server)
            continue;
        room->is_subscribed = false;
        set_live(room, false);
        list_remove(&room->reading);
        end_waiters(room, LINK_UNREACHABLE);
    }
}

void rooms_close(struct node *node) {
    while (!list_empty(&node->rooms)) {
        struct cluster_room *room = LIST_OWNER(node->rooms.next, struct cluster_room, link);
        end_waiters(room, LINK_UNREACHABLE);
        room_free(room);
    }
    table_close(&node->rooms_by_name);
}
