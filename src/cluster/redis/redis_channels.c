/* redis_channels.c -- the channels that a machine wants. See redis_channels.h.
 *
 * A channel may be wanted, left and wanted again before Redis has answered: it is subscribed when
 * the answer to the last SSUBSCRIBE has come. */
#include "cluster/redis/redis_channels.h"

#include "base/buffer.h"
#include "base/mem.h"

#include <stdlib.h>

struct channel {
    struct table_entry entry;
    struct list link, changed;
    uint32_t awaited;  /* answers to SSUBSCRIBE that have not come */
    bool wanted, sent; /* does Redis send its messages, as far as the commands go? */
    char name[];
};

static struct channel *find(const struct redis_channels *channels, struct slice name) {
    struct table_entry *entry = table_find(&channels->table, name);
    return entry == NULL ? NULL : TABLE_OWNER(entry, struct channel, entry);
}

static void note_change(struct redis_channels *channels, struct channel *channel) {
    if (list_empty(&channel->changed))
        list_append(&channels->changed, &channel->changed);
}

static void free_channel(struct redis_channels *channels, struct channel *channel) {
    list_remove(&channel->link);
    list_remove(&channel->changed);
    table_remove(&channels->table, &channel->entry);
    mem_free(channel);
}

static void free_if_unused(struct redis_channels *channels, struct channel *channel) {
    if (!channel->wanted && !channel->sent && channel->awaited == 0)
        free_channel(channels, channel);
}

void redis_channels_init(struct redis_channels *channels) {
    *channels = (struct redis_channels){.awaited = 0};
    list_init(&channels->all);
    list_init(&channels->changed);
}

void redis_channels_close(struct redis_channels *channels) {
    while (!list_empty(&channels->all))
        free_channel(channels, LIST_OWNER(channels->all.next, struct channel, link));
    table_close(&channels->table);
}

void redis_channels_add(struct redis_channels *channels, struct slice name) {
    struct channel *channel = find(channels, name);
    if (channel == NULL) {
        channel = mem_zalloc(sizeof *channel + name.len);
        memcpy(channel->name, name.bytes, name.len);
        channel->entry.key = (struct slice){channel->name, name.len};
        list_init(&channel->changed);
        list_append(&channels->all, &channel->link);
        table_add(&channels->table, &channel->entry);
    }
    channel->wanted = true;
    note_change(channels, channel); /* one that is subscribed already is confirmed anew */
}

void redis_channels_remove(struct redis_channels *channels, struct slice name) {
    struct channel *channel = find(channels, name);
    if (channel == NULL)
        return;
    channel->wanted = false;
    note_change(channels, channel);
}

void redis_channels_lost(struct redis_channels *channels) {
    channels->awaited = channels->leaving = 0;
    for (struct list *link = channels->all.next, *next; link != &channels->all; link = next) {
        struct channel *channel = LIST_OWNER(link, struct channel, link);
        next = link->next;
        channel->awaited = 0;
        channel->sent = false;
        note_change(channels, channel);
        free_if_unused(channels, channel);
    }
}

/* ---- batches ---- */

/* What is hashed for the slot: what stands between the first "{" and the next "}", or all (Redis
 * Cluster specification, "Hash tags"). */
static struct slice tag_of(const struct channel *channel) {
    struct slice name = channel->entry.key;
    const char *open = memchr(name.bytes, '{', name.len);
    if (open == NULL)
        return name;
    size_t left = name.len - (size_t)(open + 1 - name.bytes);
    const char *end = memchr(open + 1, '}', left);
    return end == NULL || end == open + 1 ? name
                                          : (struct slice){open + 1, (size_t)(end - open - 1)};
}

/* Orders by command and tag. */
static int compare(const void *left, const void *right) {
    const struct channel *a = *(struct channel *const *)left, *b = *(struct channel *const *)right;
    struct slice x = tag_of(a), y = tag_of(b);
    if (a->wanted != b->wanted)
        return a->wanted ? 1 : -1;
    int order = memcmp(x.bytes, y.bytes, x.len < y.len ? x.len : y.len);
    return order != 0 ? order : (x.len > y.len) - (x.len < y.len);
}

static void send_batch(struct redis_channels *channels, struct redis_connection *connection,
                       struct channel **batch, uint32_t count) {
    struct slice argv[1 + REDIS_CHANNELS_OF_A_BATCH];
    bool wanted = batch[0]->wanted;
    argv[0] = slice_of(wanted ? "SSUBSCRIBE" : "SUNSUBSCRIBE");
    for (uint32_t i = 0; i < count; i++) {
        argv[1 + i] = batch[i]->entry.key;
        batch[i]->sent = wanted;
        batch[i]->awaited += wanted;
    }
    *(wanted ? &channels->awaited : &channels->leaving) += count;
    redis_connection_command(connection, 1 + count, argv, NULL, NULL);
    for (uint32_t i = 0; i < count; i++)
        free_if_unused(channels, batch[i]);
}

void redis_channels_send(struct redis_channels *channels, struct redis_connection *connection) {
    struct buffer batch = {0};
    while (!list_empty(&channels->changed)) {
        struct channel *channel = LIST_OWNER(channels->changed.next, struct channel, changed);
        list_remove(&channel->changed);
        if (channel->wanted || channel->sent)
            buffer_add(&batch, &channel, sizeof channel);
        else
            free_if_unused(channels, channel);
    }
    struct channel **changed = (struct channel **)(void *)buffer_start(&batch);
    uint32_t count = (uint32_t)(batch.len / sizeof *changed);
    if (count > 1)
        qsort(changed, count, sizeof *changed, compare);
    for (uint32_t from = 0, to; from < count; from = to) {
        for (to = from + 1; to < count && to - from < REDIS_CHANNELS_OF_A_BATCH &&
                            compare(&changed[from], &changed[to]) == 0;
             to++)
            continue;
        send_batch(channels, connection, changed + from, to - from);
    }
    buffer_free(&batch);
}

/* ---- answers ---- */

bool redis_channels_settled(const struct redis_channels *channels) {
    return channels->awaited == 0 && list_empty(&channels->changed);
}

bool redis_channels_subscribed(struct redis_channels *channels, struct slice name) {
    struct channel *channel = find(channels, name);
    if (channel == NULL || channel->awaited == 0)
        return false;
    channel->awaited--;
    channels->awaited--;
    bool is_subscribed = channel->wanted && channel->awaited == 0;
    free_if_unused(channels, channel);
    return is_subscribed;
}

bool redis_channels_unsubscribed(struct redis_channels *channels) {
    if (channels->leaving == 0)
        return false;
    channels->leaving--;
    return true;
}
