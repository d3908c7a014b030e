/* history_rooms.c -- rooms with a memory on this machine: reads what they have, and delivers what
 * is published, in the order of its offsets. history.c publishes.
 *
 * A message whose offset is not the next one shows that some are missing: the room reads them, and
 * holds what comes meanwhile. Each room's last offset is compared with the server's from time to
 * time, since there may be no next message. After an outage a room reads what others have
 * published. The offsets may have begun anew then, in another epoch; a message has come before if
 * its sender's number says so. */
#include "cluster/node/history_parts.h"

#include "base/log/log.h"
#include "base/mem.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { READ_MESSAGES = 200, COMPARE_ROOMS = 200 };
/* All partitions are compared in this time; a read that failed is repeated after that. */
enum { COMPARE_MS = 10000, AGAIN_MS = 200 };
/* What a room holds while it reads; beyond it the room reads again. */
enum { HELD_MAX_BYTES = 1024 * 1024 };
/* Senders whose numbers a room knows. */
enum { SEEN_MAX = 512 };

enum { BOTH_KINDS = 1 << MEMORY_HISTORY | 1 << MEMORY_RETAINED };

/* A message that waits until the room has read. */
struct held {
    struct list link;
    size_t len;
    char bytes[];
};

/* The number of the last message of one machine in this room. */
struct seen {
    char machine[CONN_ID_NODE_LEN];
    uint64_t number;
};

struct room_history {
    struct cluster_room *room; /* NULL: the room has ended, and a read is under way */
    struct history_lane *lane;
    struct list link; /* in lane->rooms */
    bool has_memory;  /* by the rules of this machine */
    struct memory_limits limits[MEMORY_KINDS];
    bool is_live;  /* messages are delivered when they come */
    bool was_live; /* at any time before */
    bool is_reading, reads_again;
    bool owes_part;         /* rooms_part_done() */
    bool has_own;           /* its memory has messages that this machine has numbered */
    uint64_t epoch, offset; /* of the last message */
    uint64_t entry_epoch;   /* of its entry in the stream */
    uint64_t filled;        /* up to this offset retained messages are read apart */
    struct list held;
    size_t held_bytes;
    struct seen *seen;
    uint32_t seen_count, seen_next;
    struct node_timer again;
};

static struct node *node_of(const struct room_history *history) {
    return history->lane->node;
}

static struct history_server *server_of(const struct room_history *history) {
    return &node_of(history)->history->servers[history->lane->server];
}

/* ---- life ---- */

static void start_comparing(struct node *node);

static void set_memory(struct room_history *history, bool has_memory) {
    struct history *all = node_of(history)->history;
    if (history->has_memory == has_memory)
        return;
    history->has_memory = has_memory;
    if (has_memory) {
        list_append(&history->lane->rooms, &history->link);
        if (all->rooms++ == 0)
            start_comparing(node_of(history));
    } else {
        list_remove(&history->link);
        all->rooms--;
    }
}

static struct room_history *of_room(struct cluster_room *room) {
    struct room_history *history = room->history;
    if (history != NULL)
        return history;
    history = mem_zalloc(sizeof *history);
    history->room = room;
    history->lane = &room->node->history->lanes[room->partition];
    list_init(&history->link);
    list_init(&history->held);
    room->history = history;
    return history;
}

static void drop_held(struct room_history *history) {
    while (!list_empty(&history->held)) {
        struct held *held = LIST_OWNER(history->held.next, struct held, link);
        list_remove(&held->link);
        mem_free(held);
    }
    history->held_bytes = 0;
}

void history_end(struct cluster_room *room) {
    struct room_history *history = room->history;
    struct node *node = room->node;
    if (history == NULL)
        return;
    room->history = NULL;
    if (history->has_memory && server_of(history)->is_ordered)
        node->bus.reset_memory(node->bus.user, rooms_name(room), 0, 0, 0);
    set_memory(history, false);
    drop_held(history);
    node_stop_timer(node, &history->again);
    mem_free(history->seen);
    history->seen = NULL;
    history->room = NULL;
    if (!history->is_reading)
        mem_free(history);
}

/* ---- what has come before ---- */

static struct seen *find_seen(struct room_history *history, const char *machine) {
    for (uint32_t i = 0; i < history->seen_count; i++)
        if (memcmp(history->seen[i].machine, machine, CONN_ID_NODE_LEN) == 0)
            return &history->seen[i];
    return NULL;
}

static uint64_t seen_number(struct room_history *history, const char *machine) {
    const struct seen *seen = find_seen(history, machine);
    return seen == NULL ? 0 : seen->number;
}

static void note_seen(struct room_history *history, const char *machine, uint64_t number) {
    struct seen *seen = find_seen(history, machine);
    if (seen == NULL && history->seen_count < SEEN_MAX) {
        uint32_t count = history->seen_count++;
        if ((count & (count - 1)) == 0) /* a power of two, or 0 */
            history->seen = mem_realloc(history->seen, (count == 0 ? 1 : count * 2) * sizeof *seen);
        seen = &history->seen[count];
        seen->number = 0;
    } else if (seen == NULL) {
        seen = &history->seen[history->seen_next++ % SEEN_MAX];
        seen->number = 0;
    }
    memcpy(seen->machine, machine, CONN_ID_NODE_LEN);
    if (number > seen->number)
        seen->number = number;
}

/* ---- one message ---- */

/* A message as it is published and stored: "EPOCH-OFFSET TIME BODY". */
struct message_parts {
    uint64_t epoch, offset;
    int64_t wall_ms;
    char kind;
    const char *sender;
    uint64_t number;
    struct slice rest; /* of the body */
};

/* Decimal digits, and the byte behind them. */
static bool take_digits(struct slice *from, char end, uint64_t *number) {
    size_t i = 0;
    for (*number = 0; i < from->len && i < 19 && from->bytes[i] >= '0' && from->bytes[i] <= '9';
         i++)
        *number = *number * 10 + (uint64_t)(from->bytes[i] - '0');
    if (i == 0 || i == from->len || from->bytes[i] != end)
        return false;
    slice_skip(from, i + 1);
    return true;
}

/* "EPOCH-OFFSET" */
static bool parse_id(struct slice text, uint64_t *epoch, uint64_t *offset) {
    char copy[48];
    if (text.len >= sizeof copy - 1)
        return false;
    memcpy(copy, text.bytes, text.len);
    copy[text.len] = ' ';
    struct slice from = {copy, text.len + 1};
    return take_digits(&from, '-', epoch) && take_digits(&from, ' ', offset) && from.len == 0;
}

/* "TIME BODY" */
static bool parse_entry(struct slice from, struct message_parts *parts) {
    uint64_t wall_ms;
    if (!take_digits(&from, ' ', &wall_ms) || from.len < 1 + CONN_ID_NODE_LEN)
        return false;
    parts->wall_ms = (int64_t)wall_ms;
    parts->kind = from.bytes[0];
    parts->sender = from.bytes + 1;
    slice_skip(&from, 1 + CONN_ID_NODE_LEN);
    if (!unpack_number(&from, &parts->number))
        return false;
    parts->rest = from;
    return true;
}

static bool parse_message(struct slice from, struct message_parts *parts) {
    return take_digits(&from, '-', &parts->epoch) && take_digits(&from, ' ', &parts->offset) &&
           parse_entry(from, parts);
}

static uint64_t age_of(const struct room_history *history, const struct message_parts *parts) {
    int64_t now = (int64_t)node_of(history)->now_ms + server_of(history)->clock;
    return now > parts->wall_ms ? (uint64_t)(now - parts->wall_ms) : 0;
}

/* Do clients of this machine have to get it? */
static bool is_new(struct room_history *history, const struct message_parts *parts) {
    const struct node *node = node_of(history);
    bool is_own = memcmp(parts->sender, node->id, CONN_ID_NODE_LEN) == 0;
    if (parts->number <= seen_number(history, parts->sender) ||
        (is_own && parts->number <= history->lane->local_number))
        return false;
    /* from before the room concerned this machine? */
    return history->was_live || age_of(history, parts) < node->now_ms - history->room->held_ms;
}

/* Passes a message to the bus. `kinds`: of the room's memory that takes it. */
static void publish(struct room_history *history, const struct message_parts *parts, unsigned kinds,
                    bool delivers) {
    struct node *node = node_of(history);
    struct protocol_broadcast taken;
    struct memory_position position = {.epoch = history->epoch,
                                       .offset = parts->offset,
                                       .wall_ms = parts->wall_ms,
                                       .age_ms = age_of(history, parts),
                                       .kinds = kinds};
    if (!history->has_memory) {
        position = (struct memory_position){0};
        if (!delivers)
            return;
    }
    if (parts->kind != BODY_BROADCAST ||
        !protocol_unpack_broadcast(parts->rest, &node->bus.paths, &taken)) {
        node->figures.damaged++;
        taken = (struct protocol_broadcast){.endpoint = ANY_ENDPOINT}; /* its offset counts */
        delivers = false;
    }
    const struct broadcast broadcast = {.room = rooms_name(history->room),
                                        .endpoint = taken.endpoint,
                                        .encodings = taken.encodings.list,
                                        .encoding_count =
                                            taken.has_receivers ? taken.encodings.count : 0};
    node_post(node, &broadcast, taken.except, &position, !delivers);
    encodings_release(&taken.encodings);
}

/* The next message of the room. */
static void take_next(struct room_history *history, const struct message_parts *parts,
                      bool is_read) {
    struct node *node = node_of(history);
    bool delivers = is_new(history, parts);
    bool is_own = memcmp(parts->sender, node->id, CONN_ID_NODE_LEN) == 0;
    note_seen(history, parts->sender, parts->number);
    history->offset = history->room->last_entry = parts->offset;
    history->entry_epoch = parts->epoch;
    if (delivers && !is_own)
        node->figures.received++;
    if (delivers && is_read && history->was_live)
        node->figures.healed++;
    publish(history, parts,
            parts->offset <= history->filled ? 1u << MEMORY_HISTORY : (unsigned)BOTH_KINDS,
            delivers);
}

static void read_room(struct room_history *history);

/* Reads what is missing. Another epoch fills the memory anew: joins wait until it is complete. */
static void read_missing(struct room_history *history, uint64_t epoch) {
    if (epoch == history->epoch || history->room->state != ROOM_LIVE) {
        read_room(history);
        return;
    }
    history->is_live = false;
    rooms_read_again(history->room);
}

static void hold(struct room_history *history, struct slice body) {
    if (history->held_bytes + body.len > HELD_MAX_BYTES) {
        history->reads_again = true;
        return;
    }
    struct held *held = mem_zalloc(sizeof *held + body.len);
    memcpy(held->bytes, body.bytes, body.len);
    held->len = body.len;
    history->held_bytes += body.len;
    list_append(&history->held, &held->link);
}

static void begin_epoch(struct room_history *history, uint64_t epoch, uint64_t offset,
                        uint64_t dropped) {
    struct node *node = node_of(history);
    struct history_server *server = server_of(history);
    history->epoch = history->entry_epoch = epoch;
    history->room->last_entry = offset;
    history->offset = offset;
    history->filled = 0;
    history->has_own = false;
    if (epoch > server->greatest)
        server->greatest = epoch;
    if (history->has_memory)
        node->bus.reset_memory(node->bus.user, rooms_name(history->room), epoch, offset, dropped);
}

/* A message that has come just now, or was held. False: the room must read before. */
static bool take_message(struct room_history *history, const struct message_parts *parts) {
    struct node *node = node_of(history);
    if (parts->kind == BODY_CLEAR) {
        if (parts->epoch > history->epoch)
            begin_epoch(history, parts->epoch, 0, 0);
    } else if (parts->kind == BODY_CLEAR_KEY) {
        if (history->has_memory)
            node->bus.clear_retained(node->bus.user, rooms_name(history->room), parts->rest);
    } else if (!history->has_memory) {
        take_next(history, parts, false);
    } else if (parts->epoch != history->epoch || parts->offset > history->offset + 1) {
        /* of a former epoch: read already, or lost */
        return parts->epoch < history->epoch;
    } else if (parts->offset == history->offset + 1) {
        take_next(history, parts, false);
    }
    return true;
}

/* Delivers what was held, up to a gap. */
static void take_held(struct room_history *history) {
    while (!list_empty(&history->held)) {
        struct held *held = LIST_OWNER(history->held.next, struct held, link);
        struct message_parts parts;
        parse_message((struct slice){held->bytes, held->len}, &parts);
        if (!take_message(history, &parts)) {
            read_missing(history, parts.epoch);
            return;
        }
        history->held_bytes -= held->len;
        list_remove(&held->link);
        mem_free(held);
    }
}

void history_message(struct cluster_room *room, struct slice body) {
    struct room_history *history = of_room(room);
    struct message_parts parts;
    if (!parse_message(body, &parts)) {
        room->node->figures.damaged++;
        return;
    }
    if (!history->is_live || !list_empty(&history->held)) {
        hold(history, body);
    } else if (!take_message(history, &parts)) {
        hold(history, body);
        read_missing(history, parts.epoch);
    }
}

void history_rooms_deliver_own(struct history_lane *lane, struct slice name, uint64_t number,
                               struct slice body) {
    struct node *node = lane->node;
    struct cluster_room *room = rooms_find(node, name);
    struct protocol_broadcast taken;
    if (body.bytes[0] != BODY_BROADCAST ||
        (room != NULL && room->history != NULL && number <= seen_number(room->history, node->id)))
        return;
    slice_skip(&body, 1 + CONN_ID_NODE_LEN);
    if (!unpack_number(&body, &number) ||
        !protocol_unpack_broadcast(body, &node->bus.paths, &taken))
        return;
    const struct broadcast broadcast = {.room = name,
                                        .endpoint = taken.endpoint,
                                        .encodings = taken.encodings.list,
                                        .encoding_count = taken.encodings.count};
    const struct memory_position position = {.is_local = true};
    if (taken.has_receivers)
        node_post(node, &broadcast, taken.except, &position, false);
    history_rooms_note_own(node, name);
    encodings_release(&taken.encodings);
}

void history_rooms_note_own(struct node *node, struct slice name) {
    struct cluster_room *room = rooms_find(node, name);
    if (room != NULL && room->history != NULL)
        room->history->has_own = true;
}

/* ---- reading ---- */

static void part_done(struct room_history *history) {
    if (history->owes_part) {
        history->owes_part = false;
        rooms_part_done(history->room);
    }
}

static void finish_read(struct room_history *history) {
    if (history->reads_again) {
        read_room(history);
        return;
    }
    history->is_live = history->was_live = true;
    take_held(history);
    if (!history->is_reading)
        part_done(history);
}

static void note_gap(struct room_history *history, uint64_t count) {
    struct node *node = node_of(history);
    struct slice name = rooms_name(history->room);
    struct log_line line;
    node->figures.lost += count;
    log_begin_limited(&line, LOG_WARN, "cluster_lost");
    log_bytes(&line, "room", name.bytes, name.len);
    log_int(&line, "messages", (int64_t)count);
    log_str(&line, "why", "the room's memory does not reach back to what this machine has missed");
    log_end(&line);
}

static struct slice text_of(const struct redisReply *reply) {
    return reply->type == REDIS_REPLY_STRING ? (struct slice){reply->str, reply->len}
                                             : (struct slice){"", 0};
}

static uint64_t number_of(const struct redisReply *reply) {
    return reply->type == REDIS_REPLY_STRING ? strtoull(reply->str, NULL, 10) : 0;
}

static int by_offset(const void *one, const void *other) {
    const struct message_parts *a = one, *b = other;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* Retained messages. Those behind `missed` that are in the stream no more are news to clients. */
static void take_retained(struct room_history *history, const struct redisReply *list,
                          uint64_t missed, uint64_t before) {
    struct message_parts *all = mem_alloc((list->elements + 1) * sizeof *all);
    size_t count = 0;
    for (size_t i = 0; i < list->elements; i++)
        count += parse_message(text_of(list->element[i]), &all[count]);
    qsort(all, count, sizeof *all, by_offset);
    for (size_t i = 0; i < count; i++) {
        bool delivers =
            all[i].offset > missed && all[i].offset <= before && is_new(history, &all[i]);
        if (delivers)
            note_seen(history, all[i].sender, all[i].number);
        publish(history, &all[i], 1u << MEMORY_RETAINED, delivers);
    }
    mem_free(all);
}

static bool is_answer(const struct redisReply *reply) {
    return reply->type == REDIS_REPLY_ARRAY && reply->elements == 8 &&
           reply->element[6]->type == REDIS_REPLY_ARRAY &&
           reply->element[7]->type == REDIS_REPLY_ARRAY;
}

static void on_again(struct node *node, struct node_timer *timer) {
    (void)node;
    struct room_history *history = NODE_TIMER_OWNER(timer, struct room_history, again);
    if (!history->is_reading && node->servers[history->lane->server].is_up)
        read_room(history);
    else
        part_done(history);
}

/* See read.lua. */
static void take_answer(struct room_history *history, const struct redisReply *reply) {
    struct node *node = node_of(history);
    uint64_t epoch = number_of(reply->element[0]), top = number_of(reply->element[1]);
    uint64_t before = number_of(reply->element[4]), dropped = number_of(reply->element[5]);
    bool is_all = reply->element[3]->type == REDIS_REPLY_INTEGER && reply->element[3]->integer == 1;
    server_of(history)->clock = (int64_t)number_of(reply->element[2]) - (int64_t)node->now_ms;
    if (is_all) {
        bool is_same = history->was_live && epoch == history->epoch;
        uint64_t missed = is_same ? history->offset : UINT64_MAX;
        if (is_same && before > history->offset)
            note_gap(history, before - history->offset);
        begin_epoch(history, epoch, before, dropped);
        history->filled = top;
        take_retained(history, reply->element[7], missed, before);
    }
    const struct redisReply *list = reply->element[6];
    for (size_t i = 0; i + 1 < list->elements; i += 2) {
        struct message_parts parts;
        if (!parse_id(text_of(list->element[i]), &parts.epoch, &parts.offset))
            continue;
        if (parse_entry(text_of(list->element[i + 1]), &parts)) {
            take_next(history, &parts, true);
        } else {
            node->figures.damaged++;
            history->offset = parts.offset;
            history->entry_epoch = parts.epoch;
        }
    }
    if (top > history->offset && list->elements > 0)
        read_room(history);
    else
        finish_read(history);
}

static void on_read(void *context, const struct redisReply *reply) {
    struct room_history *history = context;
    history->is_reading = false;
    if (history->room == NULL) {
        mem_free(history);
        return;
    }
    struct node *node = node_of(history);
    if (reply == NULL) { /* rooms.c begins again */
        part_done(history);
    } else if (!is_answer(reply)) {
        struct log_line line;
        log_begin_limited(&line, LOG_WARN, "cluster_behind");
        log_bytes(&line, "why", reply->type == REDIS_REPLY_ERROR ? reply->str : "no answer",
                  reply->type == REDIS_REPLY_ERROR ? reply->len : 9);
        log_end(&line);
        node_set_timer(node, &history->again, node->now_ms + AGAIN_MS, on_again);
    } else {
        take_answer(history, reply);
    }
}

static void read_room(struct room_history *history) {
    struct node *node = node_of(history);
    char epoch[24], behind[48], ttl[24], most[8];
    if (history->is_reading)
        return;
    history->is_reading = true;
    history->is_live = history->reads_again = false;
    snprintf(epoch, sizeof epoch, "%" PRIu64, history->has_own ? 0 : history->epoch);
    snprintf(behind, sizeof behind, "%" PRIu64 "-%" PRIu64, history->entry_epoch, history->offset);
    snprintf(ttl, sizeof ttl, "%" PRIu64, history_stream_ttl(history->limits));
    snprintf(most, sizeof most, "%d", READ_MESSAGES);
    const struct slice argv[] = {rooms_name(history->room),
                                 slice_of(epoch),
                                 slice_of(behind),
                                 slice_of(most),
                                 slice_of(ttl),
                                 {"1", 1}};
    node->redis.call(node->redis.user, history->lane->server, REDIS_SCRIPT_READ,
                     node_key(node, history->lane->partition, "floor", (struct slice){NULL, 0}), 6,
                     argv, on_read, history);
}

static void note_rule(struct room_history *history) {
    struct node *node = node_of(history);
    memset(history->limits, 0, sizeof history->limits);
    set_memory(history,
               node->bus.memory_limits(node->bus.user, rooms_name(history->room), history->limits));
}

void history_begin(struct cluster_room *room) {
    struct room_history *history = of_room(room);
    note_rule(history);
    history->owes_part = true;
    if (history->has_memory)
        read_room(history);
    else
        finish_read(history);
}

void history_rules(struct node *node) {
    for (struct list *link = node->rooms.next; link != &node->rooms; link = link->next) {
        struct cluster_room *room = LIST_OWNER(link, struct cluster_room, link);
        struct room_history *history = room->history;
        if (history == NULL)
            continue;
        bool had_memory = history->has_memory;
        note_rule(history);
        if (history->has_memory && !had_memory) {
            history->epoch = 0; /* the messages of before are not remembered here */
            if (history->is_live)
                read_room(history);
        }
    }
}

void history_rooms_down(struct node *node, unsigned server) {
    for (struct list *link = node->rooms.next; link != &node->rooms; link = link->next) {
        struct cluster_room *room = LIST_OWNER(link, struct cluster_room, link);
        if (room->server != server || room->history == NULL)
            continue;
        room->history->is_live = false;
        drop_held(room->history);
        if (deadlines_contains(&room->history->again.deadline)) {
            node_stop_timer(node, &room->history->again);
            part_done(room->history);
        }
    }
}

/* ---- comparing ---- */

/* A call of tops.lua. */
struct comparison {
    struct node *node;
    size_t count;
    struct slice names[COMPARE_ROOMS];
};

static void on_tops(void *context, const struct redisReply *reply) {
    struct comparison *comparison = context;
    for (size_t i = 0; i < comparison->count; i++) {
        struct cluster_room *room = rooms_find(comparison->node, comparison->names[i]);
        uint64_t epoch = 0, offset = 0;
        if (reply != NULL && reply->type == REDIS_REPLY_ARRAY && i < reply->elements &&
            room != NULL && room->history != NULL && room->history->is_live &&
            room->history->has_memory) {
            parse_id(text_of(reply->element[i]), &epoch, &offset);
            if (epoch != room->history->epoch || offset > room->history->offset)
                read_missing(room->history, epoch);
        }
        mem_free((char *)comparison->names[i].bytes);
    }
    mem_free(comparison);
}

static void call_tops(struct history_lane *lane, struct comparison *comparison) {
    struct node *node = lane->node;
    struct slice argv[2 * COMPARE_ROOMS];
    char ttls[COMPARE_ROOMS][24];
    for (size_t i = 0; i < comparison->count; i++) {
        const struct cluster_room *room = rooms_find(node, comparison->names[i]);
        snprintf(ttls[i], sizeof ttls[i], "%" PRIu64, history_stream_ttl(room->history->limits));
        argv[2 * i] = comparison->names[i];
        argv[2 * i + 1] = slice_of(ttls[i]);
    }
    node->redis.call(node->redis.user, lane->server, REDIS_SCRIPT_TOPS,
                     node_key(node, lane->partition, "floor", (struct slice){NULL, 0}),
                     (unsigned)(2 * comparison->count), argv, on_tops, comparison);
}

static void compare_lane(struct history_lane *lane) {
    struct comparison *comparison = NULL;
    for (struct list *link = lane->rooms.next; link != &lane->rooms; link = link->next) {
        struct room_history *history = LIST_OWNER(link, struct room_history, link);
        if (!history->is_live)
            continue;
        if (comparison == NULL) {
            comparison = mem_zalloc(sizeof *comparison);
            comparison->node = lane->node;
        }
        struct slice name = rooms_name(history->room);
        comparison->names[comparison->count++] =
            (struct slice){mem_strndup(name.bytes, name.len), name.len};
        if (comparison->count == COMPARE_ROOMS) {
            call_tops(lane, comparison);
            comparison = NULL;
        }
    }
    if (comparison != NULL)
        call_tops(lane, comparison);
}

static void on_compare(struct node *node, struct node_timer *timer) {
    struct history *history = node->history;
    if (history->rooms == 0)
        return;
    /* an empty partition costs nothing: the next one that has rooms */
    for (unsigned i = 0; i < PARTITIONS; i++) {
        struct history_lane *lane = &history->lanes[history->next_compare++ % PARTITIONS];
        if (list_empty(&lane->rooms))
            continue;
        if (node->servers[lane->server].is_up)
            compare_lane(lane);
        break;
    }
    unsigned busy = 0;
    for (unsigned i = 0; i < PARTITIONS; i++)
        busy += !list_empty(&history->lanes[i].rooms);
    node_set_timer(node, timer, node->now_ms + COMPARE_MS / busy, on_compare);
}

static void start_comparing(struct node *node) {
    node_set_timer(node, &node->history->compare, node->now_ms + COMPARE_MS, on_compare);
}
