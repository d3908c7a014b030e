/* outgoing.c -- what waits to be published, and what the servers have not confirmed.
 *
 * One queue for each server, in the order in which messages were added. A message stays in it until
 * the server has confirmed it. When the connection is lost, all that were not confirmed are sent
 * again, in their order and with their numbers: receivers recognise those that they have. After an
 * outage the queue waits until all machines have subscribed again, since a server keeps no message
 * for machines that have not.
 *
 * Not more than a window of bytes is under way, so that what waits stands here, where it has a
 * limit: beyond it the oldest messages are dropped and counted. */
#include "cluster/node/node_parts.h"

#include "base/log/log.h"
#include "base/mem.h"

#include <hiredis/hiredis.h>

/* Bytes under way to one server. */
enum { WINDOW = 1024 * 1024 };
/* How long a server is spared that has refused a message, and how often the queue looks whether it
 * may send. */
enum { REFUSED_MS = 200, READY_LOOK_MS = 50 };
/* Channels whose sequence is known; messages that missed.c may be asked for; the memory of an entry
 * beside its bytes. */
enum {
    CHANNELS_MAX = 65536,
    CONFIRMED_MIN = 64,
    CONFIRMED_MAX = 16384 /* powers of two */,
    ENTRY_COST = 96
};

struct entry {
    struct list link;
    struct queue *queue;
    struct channel *channel;
    uint64_t sequence;
    bool is_sent; /* not confirmed; it may be sent again */
    size_t len;
    char bytes[];
};

struct queue {
    struct node *node;
    struct list entries;
    struct list *next; /* the link of the first that is to be sent; that of `entries`: none */
    size_t bytes;
    size_t under_way_bytes;
    uint32_t under_way, count;
    bool is_broken;      /* what was under way is to be sent again, when all has been answered */
    uint64_t not_before; /* the server has refused a message for a while */
    struct node_timer look;
};

/* A channel in which this machine has published. */
struct channel {
    struct table_entry entry; /* its key is the name */
    struct list link;         /* the one that was not used for longest is the first */
    uint32_t uses;            /* by entries and confirmations */
    uint64_t sequence;
    char name[];
};

/* A message that the server has got. */
struct confirmation {
    struct channel *channel;
    uint64_t sequence, at_ms;
};

struct outgoing {
    uint64_t numbers[LANES];
    struct table channels;
    struct list channel_list;
    struct buffer payload; /* of the message between outgoing_begin() and outgoing_end() */
    struct buffer_sink sink;
    struct channel *channel;        /* the same message's */
    size_t bytes;                   /* of all queues */
    struct confirmation *confirmed; /* a ring of the last ones */
    uint64_t confirmations;         /* how many there have been */
    uint32_t capacity;              /* of the ring */
    bool logged_dropped;
    struct queue queues[];
};

/* ---- life ---- */

struct outgoing *outgoing_new(struct node *node) {
    struct outgoing *outgoing =
        mem_zalloc(sizeof *outgoing + node->redis.count * sizeof *outgoing->queues);
    list_init(&outgoing->channel_list);
    outgoing->sink = buffer_sink_of(&outgoing->payload);
    for (unsigned i = 0; i < node->redis.count; i++) {
        struct queue *queue = &outgoing->queues[i];
        queue->node = node;
        list_init(&queue->entries);
        queue->next = &queue->entries;
    }
    return outgoing;
}

static size_t cost_of(const struct entry *entry) {
    return ENTRY_COST + entry->len;
}

static void entry_free(struct entry *entry) {
    struct queue *queue = entry->queue;
    struct outgoing *outgoing = queue->node->outgoing;
    if (queue->next == &entry->link)
        queue->next = entry->link.next;
    list_remove(&entry->link);
    queue->bytes -= cost_of(entry);
    queue->count--;
    outgoing->bytes -= cost_of(entry);
    entry->channel->uses--;
    mem_free(entry);
}

static void forget_channel(struct outgoing *outgoing, struct channel *channel) {
    list_remove(&channel->link);
    table_remove(&outgoing->channels, &channel->entry);
    mem_free(channel);
}

void outgoing_free(struct outgoing *outgoing) {
    if (outgoing == NULL)
        return;
    const struct node *node = outgoing->queues[0].node;
    for (unsigned i = 0; i < node->redis.count; i++)
        while (!list_empty(&outgoing->queues[i].entries))
            entry_free(LIST_OWNER(outgoing->queues[i].entries.next, struct entry, link));
    while (!list_empty(&outgoing->channel_list))
        forget_channel(outgoing, LIST_OWNER(outgoing->channel_list.next, struct channel, link));
    table_close(&outgoing->channels);
    mem_free(outgoing->confirmed);
    buffer_free(&outgoing->payload);
    mem_free(outgoing);
}

/* ---- adding ---- */

/* Makes room for one more. A channel that is in use goes to the end of the list, so that it does
 * not keep those behind it, and two are looked at, so that their number sinks again. */
static void forget_old_channels(struct outgoing *outgoing) {
    for (int i = 0; i < 2 && outgoing->channels.count >= CHANNELS_MAX; i++) {
        struct channel *oldest = LIST_OWNER(outgoing->channel_list.next, struct channel, link);
        if (oldest->uses == 0) {
            forget_channel(outgoing, oldest);
        } else {
            list_remove(&oldest->link);
            list_append(&outgoing->channel_list, &oldest->link);
        }
    }
}

static struct channel *use_channel(struct outgoing *outgoing, struct slice name) {
    struct table_entry *entry = table_find(&outgoing->channels, name);
    struct channel *channel;
    if (entry != NULL) {
        channel = TABLE_OWNER(entry, struct channel, entry);
        list_remove(&channel->link);
    } else {
        forget_old_channels(outgoing);
        channel = mem_zalloc(sizeof *channel + name.len);
        memcpy(channel->name, name.bytes, name.len);
        channel->entry.key = (struct slice){channel->name, name.len};
        table_add(&outgoing->channels, &channel->entry);
    }
    list_append(&outgoing->channel_list, &channel->link);
    return channel;
}

/* Drops the oldest message of the longest queue that is not under way. False: all are. */
static bool drop_oldest(struct node *node) {
    struct queue *longest = NULL;
    for (unsigned i = 0; i < node->redis.count; i++) {
        struct queue *queue = &node->outgoing->queues[i];
        if (queue->next != &queue->entries && (longest == NULL || queue->bytes > longest->bytes))
            longest = queue;
    }
    if (longest == NULL)
        return false;
    entry_free(LIST_OWNER(longest->next, struct entry, link));
    node->figures.dropped++;
    if (!node->outgoing->logged_dropped)
        log_event(LOG_WARN, "cluster_lost",
                  "the queue to Redis is full: its oldest messages do not reach other machines");
    node->outgoing->logged_dropped = true;
    return true;
}

struct sink *outgoing_begin(struct node *node, unsigned lane, enum protocol_kind kind,
                            struct slice channel) {
    struct outgoing *outgoing = node->outgoing;
    outgoing->channel = use_channel(outgoing, channel);
    struct protocol_head head = {kind, node_id(node), ++outgoing->numbers[lane],
                                 ++outgoing->channel->sequence};
    buffer_drop(&outgoing->payload, outgoing->payload.len);
    protocol_pack_head(&outgoing->sink.sink, &head);
    return &outgoing->sink.sink;
}

void outgoing_end(struct node *node, unsigned server) {
    struct outgoing *outgoing = node->outgoing;
    struct queue *queue = &outgoing->queues[server];
    size_t len = outgoing->payload.len;
    struct entry *entry = mem_alloc(sizeof *entry + len);
    *entry = (struct entry){.queue = queue,
                            .channel = outgoing->channel,
                            .sequence = outgoing->channel->sequence,
                            .len = len};
    memcpy(entry->bytes, buffer_start(&outgoing->payload), len);
    entry->channel->uses++;
    while (outgoing->bytes + cost_of(entry) > node->backlog_max && drop_oldest(node))
        ;
    list_append(&queue->entries, &entry->link);
    if (queue->next == &queue->entries)
        queue->next = &entry->link;
    queue->bytes += cost_of(entry);
    queue->count++;
    outgoing->bytes += cost_of(entry);
}

/* ---- sending ---- */

/* Errors of a server that will take the message later, or whose successor will. */
static bool is_for_later(const struct redisReply *reply) {
    static const char *const words[] = {"LOADING",     "READONLY",   "OOM",      "MOVED",
                                        "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "MISCONF"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strncmp(reply->str, words[i], strlen(words[i])) == 0)
            return true;
    return false;
}

static void note_confirmed(struct node *node, const struct entry *entry) {
    struct outgoing *outgoing = node->outgoing;
    if (outgoing->confirmations == outgoing->capacity && outgoing->capacity < CONFIRMED_MAX) {
        outgoing->capacity = outgoing->capacity == 0 ? CONFIRMED_MIN : outgoing->capacity * 2;
        outgoing->confirmed =
            mem_realloc(outgoing->confirmed, outgoing->capacity * sizeof *outgoing->confirmed);
    }
    struct confirmation *slot =
        &outgoing->confirmed[outgoing->confirmations & (outgoing->capacity - 1)];
    if (outgoing->confirmations >= outgoing->capacity)
        slot->channel->uses--;
    *slot = (struct confirmation){entry->channel, entry->sequence, node->now_ms};
    slot->channel->uses++;
    outgoing->confirmations++;
}

static void on_published(void *context, const struct redisReply *reply) {
    struct entry *entry = context;
    struct queue *queue = entry->queue;
    struct node *node = queue->node;
    queue->under_way--;
    queue->under_way_bytes -= cost_of(entry);
    bool is_error = reply != NULL && reply->type == REDIS_REPLY_ERROR;
    if (reply == NULL || (is_error && is_for_later(reply))) {
        queue->is_broken = true;
        if (is_error)
            queue->not_before = node->now_ms + REFUSED_MS;
        return;
    }
    if (is_error) {
        node->figures.dropped++;
        struct log_line line;
        log_begin_limited(&line, LOG_WARN, "cluster_lost");
        log_bytes(&line, "why", reply->str, reply->len);
        log_end(&line);
    } else {
        node->figures.published++;
        note_confirmed(node, entry);
    }
    entry_free(entry);
}

static void send_entry(struct queue *queue, unsigned server) {
    struct node *node = queue->node;
    struct entry *entry = LIST_OWNER(queue->next, struct entry, link);
    const struct slice argv[] = {
        {"SPUBLISH", 8},
        entry->channel->entry.key,
        {entry->bytes, entry->len},
    };
    node->figures.resent += entry->is_sent;
    entry->is_sent = true;
    queue->next = entry->link.next;
    queue->under_way++;
    queue->under_way_bytes += cost_of(entry);
    node->redis.command(node->redis.user, server, 3, argv, on_published, entry);
}

static void on_look(struct node *node, struct node_timer *timer) {
    (void)node;
    (void)timer; /* the turn in which it runs sends */
}

void outgoing_up(struct node *node) {
    node->outgoing->logged_dropped = false;
}

/* May the queue send? */
static bool may_send(struct queue *queue, unsigned server) {
    struct node *node = queue->node;
    if (!node->servers[server].is_up)
        return false;
    if (queue->is_broken) {
        if (queue->under_way > 0)
            return false;
        queue->is_broken = false;
        queue->next = queue->entries.next;
    }
    if (node->now_ms < queue->not_before || !ready_is(node, server)) {
        node_set_timer(node, &queue->look, node->now_ms + READY_LOOK_MS, on_look);
        return false;
    }
    return true;
}

void outgoing_turn(struct node *node) {
    for (unsigned server = 0; server < node->redis.count; server++) {
        struct queue *queue = &node->outgoing->queues[server];
        if (queue->next == &queue->entries && !queue->is_broken)
            continue;
        if (!may_send(queue, server))
            continue;
        while (queue->next != &queue->entries &&
               (queue->under_way_bytes < WINDOW || queue->under_way == 0))
            send_entry(queue, server);
    }
}

uint64_t outgoing_sequence(const struct node *node, struct slice channel) {
    struct table_entry *entry = table_find(&node->outgoing->channels, channel);
    return entry == NULL ? 0 : TABLE_OWNER(entry, struct channel, entry)->sequence;
}

bool outgoing_is_empty(const struct node *node) {
    return node->outgoing->bytes == 0;
}

void outgoing_since(const struct node *node, uint64_t ms, struct sink *out, size_t max_bytes) {
    const struct outgoing *outgoing = node->outgoing;
    uint64_t kept =
        outgoing->confirmations < outgoing->capacity ? outgoing->confirmations : outgoing->capacity;
    for (uint64_t i = 1; i <= kept; i++) {
        const struct confirmation *confirmation =
            &outgoing->confirmed[(outgoing->confirmations - i) & (outgoing->capacity - 1)];
        struct slice name = confirmation->channel->entry.key;
        uint64_t age_ms = node->now_ms - confirmation->at_ms;
        size_t bytes = name.len + 3 * 10; /* and three packed numbers */
        if (age_ms > ms || bytes > max_bytes)
            return;
        max_bytes -= bytes;
        pack_text(out, name.bytes, name.len);
        pack_number(out, confirmation->sequence);
        pack_number(out, age_ms);
    }
}

size_t outgoing_bytes(const struct node *node) {
    return node->outgoing->bytes;
}

void outgoing_figures(const struct node *node, struct node_figures *out) {
    out->queue_bytes = node->outgoing->bytes;
    out->queue_messages = 0;
    for (unsigned server = 0; server < node->redis.count; server++)
        out->queue_messages += node->outgoing->queues[server].count;
}
