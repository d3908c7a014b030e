/* node.c -- one machine of a cluster: its life, its turns and timers, and what its servers report.
 * See node.h. The other files of this folder have the rest (node_parts.h). */
#include "cluster/node/node_parts.h"

#include "base/mem.h"
#include "core/bus/users.h"

#include <hiredis/hiredis.h>

/* How long node_leave() waits for the servers. */
enum { LEAVE_MAX_MS = 2000 };

/* ---- small things ---- */

struct slice node_id(const struct node *node) {
    return (struct slice){node->id, CONN_ID_NODE_LEN};
}

struct slice node_key(struct node *node, unsigned partition, const char *kind, struct slice name) {
    return partitions_key(&node->key, node->prefix, partition, kind, name);
}

struct slice node_common_key(struct node *node, const char *kind, struct slice name) {
    return partitions_common_key(&node->key, node->prefix, kind, name);
}

static struct slice nothing(void) {
    return (struct slice){NULL, 0};
}

/* ---- timers ---- */

void node_set_timer(struct node *node, struct node_timer *timer, uint64_t at_ms,
                    void (*run)(struct node *node, struct node_timer *timer)) {
    timer->run = run;
    if (node->runs_timers && at_ms <= node->now_ms) /* a timer that sets itself ends no turn */
        at_ms = node->now_ms + 1;
    deadlines_set(&node->timers, &timer->deadline, at_ms);
}

void node_stop_timer(struct node *node, struct node_timer *timer) {
    deadlines_remove(&node->timers, &timer->deadline);
}

static void run_timers(struct node *node) {
    struct deadline *next;
    node->runs_timers = true;
    while ((next = deadlines_peek(&node->timers)) != NULL && next->key <= node->now_ms) {
        struct node_timer *timer = DEADLINE_OWNER(next, struct node_timer, deadline);
        deadlines_remove(&node->timers, next);
        timer->run(node, timer);
    }
    node->runs_timers = false;
}

uint64_t node_next_ms(const struct node *node) {
    const struct deadline *next = deadlines_peek(&node->timers);
    return next == NULL ? UINT64_MAX : next->key;
}

void node_set_time(struct node *node, uint64_t now_ms) {
    node->now_ms = now_ms;
}

/* ---- life ---- */

struct node *node_new(const struct node_options *options, const struct redis_functions *redis,
                      const struct node_bus *bus, uint64_t now_ms) {
    struct node *node = mem_zalloc(sizeof *node);
    memcpy(node->id, options->id.bytes, CONN_ID_NODE_LEN);
    node->prefix = (struct slice){mem_strndup(options->prefix.bytes, options->prefix.len),
                                  options->prefix.len};
    node->backlog_max = options->backlog_max;
    node->lease_ms = options->lease_ms;
    node->now_ms = now_ms;
    node->redis = *redis;
    node->bus = *bus;
    node->servers = mem_zalloc(redis->count * sizeof *node->servers);
    for (unsigned i = 0; i < redis->count; i++)
        node->servers[i].down_at = now_ms;
    list_init(&node->rooms);
    list_init(&node->reading);
    list_init(&node->waiters);
    struct slice all = node_common_key(node, "all", nothing());
    node->channel_all = mem_strndup(all.bytes, all.len);
    node->redis.subscribe(node->redis.user, COMMON_SERVER, all);
    struct slice own = node_common_key(node, "to", node_id(node));
    node->channel_own = mem_strndup(own.bytes, own.len);
    node->redis.subscribe(node->redis.user, COMMON_SERVER, own);
    node->outgoing = outgoing_new(node);
    node->peers = peers_new(node);
    node->direct = direct_new(node);
    node->missed = missed_new(node);
    node->ready = ready_new(node);
    node->leases = leases_new(node);
    node->sweeps = sweeps_new(node);
    node->members = members_new(node);
    node->mirror = mirror_new(node);
    node->online = online_new(node);
    node->history = history_new(node);
    node->shared = cluster_shared_new(node);
    node->sessions = cluster_sessions_new(node);
    return node;
}

void node_free(struct node *node) {
    if (node == NULL)
        return;
    direct_free(node);
    missed_free(node);
    ready_free(node);
    cluster_sessions_free(node); /* it holds rooms */
    rooms_close(node);
    cluster_shared_free(node->shared);
    history_free(node->history);
    online_free(node);
    mirror_free(node->mirror);
    members_free(node->members);
    sweeps_free(node->sweeps);
    leases_free(node->leases);
    peers_close_senders(&node->all_senders);
    peers_free(node->peers);
    outgoing_free(node->outgoing);
    deadlines_close(&node->timers);
    buffer_free(&node->key);
    mem_free(node->channel_all);
    mem_free(node->channel_own);
    mem_free((char *)node->prefix.bytes);
    mem_free(node->servers);
    mem_free(node);
}

/* ---- what servers report ---- */

static void on_up(void *user, unsigned server, const struct redis_facts *facts) {
    struct node *node = user;
    struct node_server *state = &node->servers[server];
    state->facts = *facts;
    state->is_up = true;
    leases_up(node, server);
    outgoing_up(node);
    ready_up(node, server);
    missed_up(node);
    online_up(node, server);
    history_up(node, server);
    rooms_up(node, server);
    if (server == COMMON_SERVER && node->since_ms == 0)
        node->since_ms = node->now_ms;
    cluster_sessions_up(node, server);
    state->was_up = true;
    node->bus.server_state(node->bus.user, server, true);
}

static void on_down(void *user, unsigned server, const char *why) {
    (void)why; /* redis.h: the connection's code logs it */
    struct node *node = user;
    struct node_server *state = &node->servers[server];
    node->figures.outages += state->is_up;
    state->is_up = false;
    state->down_at = node->now_ms;
    leases_down(node, server);
    history_down(node, server);
    cluster_shared_down(node, server);
    cluster_sessions_down(node, server);
    rooms_down(node, server);
    ready_down(node, server);
    missed_down(node);
    node->bus.server_state(node->bus.user, server, false);
}

static void on_subscribed(void *user, unsigned server, struct slice channel) {
    struct node *node = user;
    struct slice room;
    if (partitions_room_of(channel, node->prefix, &room))
        rooms_subscribed(node, room);
    else if (online_is_channel(node, channel))
        online_subscribed(node, server);
}

struct senders *node_senders(struct node *node, struct slice channel, uint64_t *since_ms) {
    struct slice name;
    *since_ms = node->since_ms;
    if (partitions_room_of(channel, node->prefix, &name)) {
        struct cluster_room *room = rooms_find(node, name);
        *since_ms = room == NULL ? 0 : room->since_ms;
        return room == NULL ? NULL : &room->senders;
    }
    return slice_is(channel, node->channel_all)   ? &node->all_senders
           : slice_is(channel, node->channel_own) ? direct_senders(node)
                                                  : NULL;
}

void node_post(struct node *node, const struct broadcast *broadcast, const char *except,
               const struct memory_position *position, bool remember_only) {
    node->posts += !remember_only;
    node->bus.publish(node->bus.user, broadcast, except, position, remember_only);
    if (position->offset > 0 && !remember_only && session_collect_any(node))
        session_collect_note_entry(node, position->offset, broadcast, except);
}

/* A broadcast to a room or, without a room, to all connections. */
static void take_broadcast(struct node *node, struct slice room, const struct protocol_head *head,
                           struct slice body) {
    struct protocol_broadcast taken;
    if (!protocol_unpack_broadcast(body, &node->bus.paths, &taken)) {
        node->figures.damaged++;
        return;
    }
    node->figures.received++;
    const struct broadcast broadcast = {
        .room = room,
        .endpoint = taken.endpoint,
        .encodings = taken.encodings.list,
        .encoding_count = taken.encodings.count,
    };
    const struct memory_position nowhere = {0};
    if (taken.has_receivers) {
        node_post(node, &broadcast, taken.except, &nowhere, false);
        if (session_collect_any(node))
            session_collect_note(node, head->sender, head->sequence, node->posts, &broadcast,
                                 taken.except);
    }
    encodings_release(&taken.encodings);
}

static void take_room_message(struct cluster_room *room, const struct protocol_head *head,
                              struct slice body) {
    struct node *node = room->node;
    switch (head->kind) {
    case PROTOCOL_BROADCAST:
        if (peers_accept(node, room->partition, head, &room->senders))
            take_broadcast(node, rooms_name(room), head, body);
        break;
    case PROTOCOL_ENTRY:
        history_message(room, body);
        break;
    case PROTOCOL_MEMBERS:
        mirror_message(room, head, body);
        break;
    case PROTOCOL_MARK:
        if (!peers_accept(node, room->partition, head, &room->senders))
            session_out_marked(node, head, body);
        break;
    default:
        node->figures.damaged++;
    }
}

static void on_message(void *user, unsigned server, struct slice channel, struct slice payload) {
    struct node *node = user;
    struct protocol_head head;
    struct slice name;
    if (!protocol_unpack_head(&payload, &head)) {
        node->figures.damaged++;
        return;
    }
    leases_seen(node, head.sender);
    if (partitions_room_of(channel, node->prefix, &name)) {
        struct cluster_room *room = rooms_find(node, name);
        if (room != NULL) /* else unsubscribed just now */
            take_room_message(room, &head, payload);
    } else if (slice_is(channel, node->channel_all)) {
        if (head.kind == PROTOCOL_BROADCAST &&
            peers_accept(node, LANE_ALL, &head, &node->all_senders))
            take_broadcast(node, nothing(), &head, payload);
    } else if (slice_is(channel, node->channel_own)) {
        direct_message(node, &head, payload);
    } else if (online_is_channel(node, channel)) {
        if (head.kind == PROTOCOL_MEMBERS)
            online_message(node, server, &head, payload);
    }
}

struct redis_events node_events(struct node *node) {
    return (struct redis_events){on_up, on_down, on_subscribed, on_message, node};
}

/* ---- what workers have done ---- */

static bool has_message(const struct link_item *item) {
    for (uint32_t i = 0; i < item->encoding_count; i++)
        if (item->encodings[i].message != NULL)
            return true;
    return false;
}

/* A session that comes here may miss what this machine publishes meanwhile. */
static void collect_own(struct node *node, const struct link_item *item, struct slice channel) {
    const struct broadcast broadcast = {.room = item->room,
                                        .endpoint = item->endpoint,
                                        .encodings = item->encodings,
                                        .encoding_count = item->encoding_count};
    session_collect_note(node, node_id(node), outgoing_sequence(node, channel), 0, &broadcast,
                         item->id);
}

static void publish(struct node *node, const struct link_item *item) {
    bool is_for_all = item->room.len == 0;
    if (!has_message(item))
        return;
    for (int kind = 0; kind < MEMORY_KINDS && !is_for_all; kind++)
        if (item->limits[kind].messages > 0) {
            history_publish(node, item);
            return;
        }
    unsigned lane = is_for_all ? LANE_ALL : partitions_of(item->room);
    struct slice channel =
        is_for_all ? slice_of(node->channel_all) : node_key(node, lane, "c", item->room);
    struct sink *sink = outgoing_begin(node, lane, PROTOCOL_BROADCAST, channel);
    protocol_pack_broadcast(sink, item, &node->bus.paths);
    if (session_collect_any(node))
        collect_own(node, item, channel);
    outgoing_end(node, is_for_all ? COMMON_SERVER : partitions_server(lane, node->redis.count));
}

static void request(struct node *node, const struct link_item *item) {
    switch (item->request) {
    case LINK_ROOM_SYNC:
        rooms_sync(node, item->body, item->token);
        return;
    case LINK_SHARED:
        cluster_shared_take(node, item);
        return;
    case LINK_SESSION:
        cluster_sessions_take(node, item);
        return;
    }
    node->bus.answer(node->bus.user, item->token, LINK_REFUSED,
                     slice_of("unknown kind of request"));
}

/* Is the connection of another machine? */
static bool is_elsewhere(const struct node *node, const struct link_item *item) {
    return strlen(item->id) == CONN_ID_LEN && memcmp(item->id, node->id, CONN_ID_NODE_LEN) != 0;
}

/* A message or a close for a connection that has left this machine. False: it is none. */
static bool pass_on(struct node *node, const struct link_item *item) {
    if (!session_out_knows(node, item->id))
        return false;
    struct buffer body = {0};
    struct buffer_sink sink = buffer_sink_of(&body);
    bool is_send = item->kind == LINK_SEND;
    if (is_send)
        protocol_pack_send(&sink.sink, item, &node->bus.paths);
    else
        protocol_pack_close(&sink.sink, item);
    session_out_pass_on(node, item->id, is_send ? PROTOCOL_SEND : PROTOCOL_CLOSE,
                        (struct slice){buffer_start(&body), body.len});
    buffer_free(&body);
    return true;
}

static void take_member(struct node *node, const struct link_item *item) {
    struct cluster_room *room = rooms_find(node, item->room);
    if (item->kind == LINK_JOINED)
        room = rooms_hold(node, item->room);
    if (room == NULL)
        return;
    members_take(node, item);
    if (item->kind == LINK_JOINED)
        cluster_sessions_joined(node, item);
    if (item->kind == LINK_LEFT)
        rooms_drop(room);
}

void node_take(struct node *node, const struct link_item *item) {
    switch (item->kind) {
    case LINK_PUBLISH:
        publish(node, item);
        break;
    case LINK_SEND:
        if (has_message(item) && !pass_on(node, item) && is_elsewhere(node, item))
            direct_send(node, item);
        break;
    case LINK_CLOSE:
        if (!pass_on(node, item) && is_elsewhere(node, item))
            direct_close(node, item);
        break;
    case LINK_JOINED:
    case LINK_LEFT:
    case LINK_CHANGED:
        take_member(node, item);
        break;
    case LINK_CLEAR:
        history_publish(node, item);
        break;
    case LINK_RULES:
        history_rules(node);
        break;
    case LINK_WATCH:
        if (is_user_room(item->room) && item->room.len == USER_ROOM_PREFIX_LEN)
            online_watch(node, item->on);
        else
            rooms_watch(node, item->room, item->on);
        break;
    case LINK_REQUEST:
        request(node, item);
        break;
    case LINK_SESSION_NEWS:
        cluster_sessions_news(node, item);
        break;
    }
}

/* ---- leaving ---- */

static void on_confirmed(void *context, const struct redisReply *reply) {
    (void)reply; /* lost: the others forget the machine by themselves */
    struct node *node = context;
    node->confirmations--;
}

/* Answers come in the order of commands: when each server has answered this one, all before it is
 * done. */
static void ask_to_confirm(struct node *node) {
    static const struct slice ping = {"PING", 4};
    node->asked_to_confirm = true;
    for (unsigned server = 0; server < node->redis.count; server++)
        if (node->servers[server].is_up) {
            node->confirmations++;
            node->redis.command(node->redis.user, server, 1, &ping, on_confirmed, node);
        }
}

static bool any_server_is_up(const struct node *node) {
    for (unsigned server = 0; server < node->redis.count; server++)
        if (node->servers[server].is_up)
            return true;
    return false;
}

/* The end of a turn, after which the node may not exist. */
static void leaving_turn(struct node *node) {
    if (node->left == NULL)
        return;
    if (!node->asked_to_confirm &&
        ((outgoing_is_empty(node) && history_is_empty(node)) || !any_server_is_up(node)))
        ask_to_confirm(node);
    bool is_confirmed = node->asked_to_confirm && node->confirmations == 0;
    if (!is_confirmed && node->now_ms < node->leave_until)
        return;
    void (*left)(void *user) = node->left;
    node->left = NULL;
    left(node->left_user);
}

static void on_leave_until(struct node *node, struct node_timer *timer) {
    (void)node;
    (void)timer; /* leaving_turn() */
}

void node_leave(struct node *node, void (*done)(void *user), void *user) {
    node->left = done;
    node->left_user = user;
    node->asked_to_confirm = false;
    node->leave_until = node->now_ms + LEAVE_MAX_MS;
    node_set_timer(node, &node->leaving, node->leave_until, on_leave_until);
    if (node->is_leaving)
        return;
    node->is_leaving = true;
    members_leave(node);
    leases_leave(node);
}

/* ---- the turn ---- */

void node_turn(struct node *node, uint64_t now_ms) {
    node->now_ms = now_ms;
    run_timers(node);
    rooms_turn(node);
    members_turn(node);
    history_turn(node);
    cluster_sessions_turn(node);
    outgoing_turn(node);
    leaving_turn(node);
}

/* ---- figures ---- */

void node_figures(const struct node *node, struct node_figures *out) {
    *out = node->figures; /* the parts keep the gauges of theirs in it */
    outgoing_figures(node, out);
    history_figures(node, out);
    out->rooms = node->rooms_by_name.count;
    out->servers_up = 0;
    for (unsigned server = 0; server < node->redis.count; server++)
        out->servers_up += node->servers[server].is_up;
}
