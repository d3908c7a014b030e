/* history.c -- publishes messages of rooms with a memory, which Redis numbers and stores.
 *
 * While its server is up, no client has such a message before Redis has published it: it comes back
 * to this machine as to all others (history_rooms.c), so there is one order and one number. One
 * call of a partition is under way at a time; what is published meanwhile goes with the next one,
 * so calls grow under load. A call that was not answered is made again with the same messages, and
 * the script knows the number of the last one that it has executed.
 *
 * A server that is away for longer than a second orders nothing: from then on this machine delivers
 * at once what its workers publish, in the order of its queue, and publishes it after the
 * outage. */
#include "cluster/node/history_parts.h"

#include "base/log/log.h"
#include "base/mem.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { CALL_MESSAGES = 64, CALL_BYTES = 256 * 1024, CALL_ARGUMENTS = 5 };
/* How long a server may be away before this machine goes on alone; how long one is spared that has
 * refused messages. */
enum { AWAY_MS = 1000, REFUSED_MS = 200 };
/* Rooms in which this machine has published and whose epochs it knows; the memory of a message
 * beside its bytes; the least entries that a stream keeps, so that machines can read what they have
 * missed. */
enum { PUBLISHED_MAX = 65536, ENTRY_COST = 128, STREAM_LEAST = 100, KEYS_LEAST = 16 };
/* A stream's time of expiry is set again at least so often. */
enum { RENEW_MS = 60000 };

/* A room in which this machine publishes. */
struct published_room {
    struct table_entry entry; /* its key is the name */
    struct list link;         /* the one that was not used for longest is the first */
    uint32_t entries;         /* in a queue */
    uint64_t epoch;           /* 0: unknown */
    uint64_t local_number;    /* the room has a new epoch since this number of its lane */
    uint64_t renewed_ms;      /* when this machine has set its time of expiry; 0: never */
    size_t average;           /* bytes of a message */
    char name[];
};

struct history_entry {
    struct list link; /* in its lane's queue */
    struct published_room *room;
    uint64_t number;
    char kind;
    struct memory_limits limits[MEMORY_KINDS];
    struct slice key, body;
    char bytes[];
};

/* ---- life ---- */

struct history *history_new(struct node *node) {
    unsigned count = node->redis.count;
    struct history *history = mem_zalloc(sizeof *history + count * sizeof *history->servers);
    list_init(&history->ready);
    list_init(&history->published_list);
    for (unsigned i = 0; i < PARTITIONS; i++) {
        struct history_lane *lane = &history->lanes[i];
        lane->node = node;
        lane->partition = i;
        lane->server = partitions_server(i, count);
        list_init(&lane->queue);
        list_init(&lane->link);
        list_init(&lane->rooms);
    }
    for (unsigned i = 0; i < count; i++)
        history->servers[i] = (struct history_server){.node = node, .is_away = true};
    return history;
}

static void forget_room(struct history *history, struct published_room *room) {
    list_remove(&room->link);
    table_remove(&history->published, &room->entry);
    mem_free(room);
}

static size_t cost_of(const struct history_entry *entry) {
    return ENTRY_COST + entry->key.len + entry->body.len;
}

static void entry_free(struct history *history, struct history_entry *entry) {
    list_remove(&entry->link);
    history->bytes -= cost_of(entry);
    history->count--;
    entry->room->entries--;
    mem_free(entry);
}

static struct history_entry *first_of(const struct history_lane *lane) {
    return LIST_OWNER(lane->queue.next, struct history_entry, link);
}

void history_free(struct history *history) {
    for (unsigned i = 0; i < PARTITIONS; i++)
        while (!list_empty(&history->lanes[i].queue))
            entry_free(history, first_of(&history->lanes[i]));
    while (!list_empty(&history->published_list))
        forget_room(history, LIST_OWNER(history->published_list.next, struct published_room, link));
    table_close(&history->published);
    buffer_free(&history->texts);
    buffer_free(&history->body);
    mem_free(history);
}

/* ---- the queue ---- */

/* Makes room for one more, as outgoing.c does for channels. */
static void forget_old_rooms(struct history *history) {
    for (int i = 0; i < 2 && history->published.count >= PUBLISHED_MAX; i++) {
        struct published_room *oldest =
            LIST_OWNER(history->published_list.next, struct published_room, link);
        if (oldest->entries == 0) {
            forget_room(history, oldest);
        } else {
            list_remove(&oldest->link);
            list_append(&history->published_list, &oldest->link);
        }
    }
}

static struct published_room *use_room(struct history *history, struct slice name) {
    struct table_entry *found = table_find(&history->published, name);
    struct published_room *room;
    if (found != NULL) {
        room = TABLE_OWNER(found, struct published_room, entry);
        list_remove(&room->link);
    } else {
        forget_old_rooms(history);
        room = mem_zalloc(sizeof *room + name.len);
        memcpy(room->name, name.bytes, name.len);
        room->entry.key = (struct slice){room->name, name.len};
        table_add(&history->published, &room->entry);
    }
    list_append(&history->published_list, &room->link);
    return room;
}

/* Drops the oldest message that is not under way of the lane. False: all are. */
static bool drop_oldest(struct history_lane *lane) {
    struct history *history = lane->node->history;
    struct list *link = lane->queue.next;
    for (unsigned i = 0; i < lane->under_way; i++)
        link = link->next;
    if (link == &lane->queue)
        return false;
    entry_free(history, LIST_OWNER(link, struct history_entry, link));
    lane->node->figures.dropped++;
    if (!history->logged_dropped)
        log_event(
            LOG_WARN, "cluster_lost",
            "the queue to Redis is full: the oldest messages of rooms with a memory are lost");
    history->logged_dropped = true;
    return true;
}

static char kind_of(const struct link_item *item) {
    return item->kind == LINK_PUBLISH ? BODY_BROADCAST : item->on ? BODY_CLEAR_KEY : BODY_CLEAR;
}

static struct slice key_of(const struct link_item *item) {
    for (uint32_t i = 0; i < item->encoding_count && item->kind == LINK_PUBLISH; i++)
        if (item->encodings[i].message != NULL)
            return message_key(item->encodings[i].message);
    return item->body;
}

/* The body of a message, as it is stored. */
static struct slice pack(struct node *node, const struct link_item *item, uint64_t number) {
    struct buffer *body = &node->history->body;
    struct buffer_sink sink = buffer_sink_of(body);
    const char kind = kind_of(item);
    buffer_drop(body, body->len);
    buffer_add(body, &kind, 1);
    buffer_add(body, node->id, CONN_ID_NODE_LEN);
    pack_number(&sink.sink, number);
    if (kind == BODY_BROADCAST)
        protocol_pack_broadcast(&sink.sink, item, &node->bus.paths);
    else if (kind == BODY_CLEAR_KEY)
        buffer_add(body, item->body.bytes, item->body.len);
    return (struct slice){buffer_start(body), body->len};
}

static void make_ready(struct history_lane *lane) {
    if (list_empty(&lane->link))
        list_append(&lane->node->history->ready, &lane->link);
}

void history_publish(struct node *node, const struct link_item *item) {
    struct history *history = node->history;
    struct history_lane *lane = &history->lanes[partitions_of(item->room)];
    uint64_t number = ++lane->numbers;
    struct slice body = pack(node, item, number), key = key_of(item);
    struct history_entry *entry = mem_zalloc(sizeof *entry + body.len + key.len);
    memcpy(entry->bytes, body.bytes, body.len);
    if (key.len > 0)
        memcpy(entry->bytes + body.len, key.bytes, key.len);
    entry->body = (struct slice){entry->bytes, body.len};
    entry->key = (struct slice){entry->bytes + body.len, key.len};
    entry->number = number;
    entry->kind = kind_of(item);
    memcpy(entry->limits, item->limits, sizeof entry->limits);
    while (history->bytes + outgoing_bytes(node) + cost_of(entry) > node->backlog_max &&
           drop_oldest(lane))
        ;
    entry->room = use_room(history, item->room);
    entry->room->entries++;
    size_t average = entry->room->average;
    entry->room->average = average == 0 ? body.len : (average * 15 + body.len) / 16;
    list_append(&lane->queue, &entry->link);
    history->bytes += cost_of(entry);
    history->count++;
    if (!item->is_ordered || !history->servers[lane->server].is_ordered) {
        if (item->is_ordered) /* the server was up when it was published */
            history_rooms_deliver_own(lane, item->room, number, entry->body);
        lane->local_number = number;
        history_rooms_note_own(node, item->room);
    }
    make_ready(lane);
}

/* ---- calls ---- */

/* The number of entries that the room's stream keeps: as many messages as the rule says, or about
 * as many as have so many bytes. */
static uint64_t entries_of(const struct history_entry *entry) {
    const struct memory_limits *limits = &entry->limits[MEMORY_HISTORY];
    size_t average = entry->room->average > 0 ? entry->room->average : 1;
    uint64_t most = limits->messages, by_bytes = 2 * (limits->bytes / average);
    if (most > by_bytes)
        most = by_bytes;
    return most < STREAM_LEAST ? STREAM_LEAST : most;
}

/* The number of messages that the room retains, for which the same holds. */
static uint64_t keys_of(const struct history_entry *entry) {
    const struct memory_limits *limits = &entry->limits[MEMORY_RETAINED];
    size_t average = entry->room->average > 0 ? entry->room->average : 1;
    uint64_t most = limits->messages, by_bytes = KEYS_LEAST + 4 * (limits->bytes / average);
    return most < by_bytes ? most : by_bytes;
}

static uint64_t longer(uint64_t ms) {
    return ms == 0 ? 0 : ms + ms / 4 + RENEW_MS;
}

uint64_t history_stream_ttl(const struct memory_limits *limits) {
    const struct memory_limits *history = &limits[MEMORY_HISTORY];
    const struct memory_limits *retained = &limits[MEMORY_RETAINED];
    uint64_t h = history->messages > 0 ? history->ms : 1,
             r = retained->messages > 0 ? retained->ms : 1;
    return h == 0 || r == 0 ? 0 : longer(h > r ? h : r);
}

/* Must the stream's time of expiry be set? */
static bool must_renew(const struct history_entry *entry, uint64_t now_ms) {
    uint64_t ttl = history_stream_ttl(entry->limits), every = RENEW_MS;
    if (ttl > 0 && ttl / 8 < every)
        every = ttl / 8;
    return entry->room->renewed_ms == 0 || now_ms - entry->room->renewed_ms >= every;
}

static void add_rule(struct buffer *out, struct history_entry *entry, uint64_t now_ms) {
    const struct memory_limits *retained = &entry->limits[MEMORY_RETAINED];
    if (entry->kind == BODY_CLEAR) {
        buffer_printf(out, "clear");
        return;
    }
    if (entry->kind == BODY_CLEAR_KEY) {
        buffer_printf(out, "clear ");
        buffer_add(out, entry->key.bytes, entry->key.len);
        return;
    }
    bool renew = must_renew(entry, now_ms);
    if (!renew && retained->messages == 0)
        return;
    if (renew)
        entry->room->renewed_ms = now_ms;
    buffer_printf(out, "%d %" PRIu64 " %" PRIu64 " %" PRIu64 " ", renew,
                  history_stream_ttl(entry->limits), keys_of(entry), longer(retained->ms));
    buffer_add(out, entry->key.bytes, entry->key.len);
}

static unsigned call_size(const struct history_lane *lane) {
    unsigned count = 0;
    size_t bytes = 0;
    for (const struct list *link = lane->queue.next; link != &lane->queue && count < CALL_MESSAGES;
         link = link->next) {
        bytes += LIST_OWNER(link, struct history_entry, link)->body.len;
        if (count > 0 && bytes > CALL_BYTES)
            break;
        count++;
    }
    return count;
}

/* Clients of this machine have the message under a number of its own, and may come to another
 * machine with it: must the room begin a new epoch? */
static bool has_other_number(const struct history_lane *lane, const struct history_entry *entry) {
    return entry->kind == BODY_BROADCAST && entry->number <= lane->local_number &&
           entry->room->local_number < entry->number;
}

static void on_published(void *context, const struct redisReply *reply);

/* Makes the call of the first messages; one that was not answered is the same as before. */
static void call(struct history_lane *lane) {
    struct node *node = lane->node;
    struct history *history = node->history;
    struct buffer *texts = &history->texts;
    struct slice argv[3 + CALL_MESSAGES * CALL_ARGUMENTS];
    size_t ends[CALL_MESSAGES][3];
    char head[64], last[24];
    if (lane->under_way == 0)
        lane->under_way = call_size(lane);
    else
        node->figures.resent += lane->under_way;
    struct buffer packed = {.bytes = NULL};
    struct buffer_sink sink = buffer_sink_of(&packed);
    protocol_pack_head(&sink.sink, &(struct protocol_head){PROTOCOL_ENTRY, node_id(node), 0, 0});
    memcpy(head, buffer_start(&packed), packed.len);
    argv[0] = (struct slice){head, packed.len};
    buffer_free(&packed);
    argv[1] = node_id(node);
    buffer_drop(texts, texts->len);
    struct list *link = lane->queue.next;
    struct history_entry *entry = NULL;
    for (unsigned i = 0; i < lane->under_way; i++, link = link->next) {
        entry = LIST_OWNER(link, struct history_entry, link);
        if (has_other_number(lane, entry))
            buffer_printf(texts, "-1");
        else
            buffer_printf(texts, "%" PRIu64, entry->room->epoch);
        ends[i][0] = texts->len;
        buffer_printf(texts, "%" PRIu64, entries_of(entry));
        ends[i][1] = texts->len;
        add_rule(texts, entry, node->now_ms);
        ends[i][2] = texts->len;
    }
    argv[2] = (struct slice){last, (size_t)snprintf(last, sizeof last, "%" PRIu64, entry->number)};
    const char *bytes = buffer_start(texts);
    size_t at = 0;
    struct slice *arg = argv + 3;
    link = lane->queue.next;
    for (unsigned i = 0; i < lane->under_way; i++, link = link->next) {
        entry = LIST_OWNER(link, struct history_entry, link);
        *arg++ = entry->room->entry.key;
        for (int text = 0; text < 3; text++) {
            *arg++ = (struct slice){bytes + at, ends[i][text] - at};
            at = ends[i][text];
        }
        *arg++ = entry->body;
    }
    lane->is_calling = true;
    lane->call_local = lane->local_number;
    node->redis.call(node->redis.user, lane->server, REDIS_SCRIPT_PUBLISH,
                     node_key(node, lane->partition, "floor", (struct slice){NULL, 0}),
                     (unsigned)(arg - argv), argv, on_published, lane);
}

static void log_refused(const struct redisReply *reply) {
    struct log_line line;
    log_begin_limited(&line, LOG_WARN, "cluster_lost");
    log_bytes(&line, "why", reply->str, reply->len);
    log_end(&line);
}

/* What the script says of single messages: see publish.lua. */
static void take_result(struct history_lane *lane, const struct redisReply *reply) {
    struct history_server *server = &lane->node->history->servers[lane->server];
    struct list *link = lane->queue.next;
    unsigned at = 0;
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const struct redisReply *index = reply->element[i], *text = reply->element[i + 1];
        if (index->type != REDIS_REPLY_INTEGER || text->type != REDIS_REPLY_STRING ||
            index->integer < at || index->integer >= lane->under_way)
            continue;
        for (; at < index->integer; at++)
            link = link->next;
        struct published_room *room = LIST_OWNER(link, struct history_entry, link)->room;
        char *end;
        uint64_t epoch = strtoull(text->str, &end, 10);
        if (*end != '\0' || epoch == 0) {
            lane->node->figures.dropped++;
            log_refused(text);
            continue;
        }
        if (room->epoch != epoch)
            room->renewed_ms = 0;
        room->local_number = lane->call_local;
        room->epoch = epoch;
        if (epoch > server->greatest)
            server->greatest = epoch;
    }
}

static void on_end(struct node *node, struct node_timer *timer);

/* The server is down, or refuses messages. */
static void set_away(struct history_server *server) {
    struct node *node = server->node;
    if (server->is_away)
        return;
    server->is_away = true;
    if (server->is_ordered)
        node_set_timer(node, &server->end, node->now_ms + AWAY_MS, on_end);
}

static void set_back(struct history_server *server) {
    struct node *node = server->node;
    server->is_away = false;
    node_stop_timer(node, &server->end);
    if (server->is_ordered)
        return;
    server->is_ordered = true;
    node->bus.set_ordered(node->bus.user, (unsigned)(server - node->history->servers), true);
}

static void on_published(void *context, const struct redisReply *reply) {
    struct history_lane *lane = context;
    struct node *node = lane->node;
    struct history_server *server = &node->history->servers[lane->server];
    lane->is_calling = false;
    if (reply != NULL && reply->type != REDIS_REPLY_ARRAY) { /* it will take them later */
        log_refused(reply);
        server->not_before = node->now_ms + REFUSED_MS;
        set_away(server);
    }
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY) {
        take_result(lane, reply);
        node->figures.published += lane->under_way;
        for (; lane->under_way > 0; lane->under_way--) {
            struct history_entry *entry = first_of(lane);
            entry_free(node->history, entry);
        }
        if (node->servers[lane->server].is_up)
            set_back(server);
    }
    if (!list_empty(&lane->queue))
        make_ready(lane);
}

static void on_look(struct node *node, struct node_timer *timer) {
    (void)node;
    (void)timer; /* history_turn() */
}

void history_turn(struct node *node) {
    struct list ready;
    list_init(&ready);
    list_move(&ready, &node->history->ready);
    while (!list_empty(&ready)) {
        struct history_lane *lane = LIST_OWNER(ready.next, struct history_lane, link);
        struct history_server *server = &node->history->servers[lane->server];
        list_remove(&lane->link);
        if (lane->is_calling || list_empty(&lane->queue) || !node->servers[lane->server].is_up)
            continue; /* on_published(), history_up() */
        if (node->now_ms < server->not_before) {
            make_ready(lane);
            node_set_timer(node, &server->look, server->not_before, on_look);
            continue;
        }
        call(lane);
    }
}

/* ---- outages ---- */

/* The server has been away for too long: this machine goes on alone. What waits is delivered here,
 * in its order, before anything that is published from now on. */
static void on_end(struct node *node, struct node_timer *timer) {
    struct history_server *server = NODE_TIMER_OWNER(timer, struct history_server, end);
    unsigned number = (unsigned)(server - node->history->servers);
    for (unsigned i = 0; i < PARTITIONS; i++) {
        struct history_lane *lane = &node->history->lanes[i];
        if (lane->server != number)
            continue;
        for (struct list *link = lane->queue.next; link != &lane->queue; link = link->next) {
            struct history_entry *entry = LIST_OWNER(link, struct history_entry, link);
            if (entry->number > lane->local_number)
                history_rooms_deliver_own(lane, entry->room->entry.key, entry->number, entry->body);
        }
        lane->local_number = lane->numbers;
    }
    server->is_ordered = false;
    node->bus.set_ordered(node->bus.user, number, false);
}

/* In another life of the server rooms begin new epochs. */
static void raise_floor(struct node *node, unsigned number) {
    struct history_server *server = &node->history->servers[number];
    char text[24];
    struct slice argv[2] = {slice_of(node->servers[number].facts.run_id), {text, 0}};
    if (server->greatest > server->former)
        server->former = server->greatest;
    argv[1].len = (size_t)snprintf(text, sizeof text, "%" PRIu64, server->former);
    for (unsigned i = 0; i < PARTITIONS; i++)
        if (node->history->lanes[i].server == number)
            node->redis.call(node->redis.user, number, REDIS_SCRIPT_FLOOR,
                             node_key(node, i, "floor", (struct slice){NULL, 0}), 2, argv, NULL,
                             NULL);
}

void history_up(struct node *node, unsigned number) {
    struct history_server *server = &node->history->servers[number];
    node->history->logged_dropped = false;
    server->clock = node->servers[number].facts.time_ms - (int64_t)node->now_ms;
    server->not_before = 0;
    if (!node->servers[number].facts.same_run)
        raise_floor(node, number);
    set_back(server);
    for (unsigned i = 0; i < PARTITIONS; i++)
        if (node->history->lanes[i].server == number && !list_empty(&node->history->lanes[i].queue))
            make_ready(&node->history->lanes[i]);
}

void history_down(struct node *node, unsigned number) {
    history_rooms_down(node, number);
    set_away(&node->history->servers[number]);
}

/* ---- figures ---- */

void history_figures(const struct node *node, struct node_figures *out) {
    out->queue_bytes += node->history->bytes;
    out->queue_messages += node->history->count;
}

bool history_is_empty(const struct node *node) {
    return node->history->count == 0;
}
