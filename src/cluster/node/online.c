/* online.c -- the users that have a connection on any machine, for tw.watch_users.
 *
 * Each server has the set of users whose rooms are on it, and publishes each user that comes into
 * it or leaves it, with the set's next version. This machine mirrors the sets while a worker
 * watches users. Users that a server has lost with its data stay until all machines have announced
 * their members again. */
#include "cluster/node/node_parts.h"

#include "base/mem.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

enum { SCAN_USERS = 1000, RETRY_MS = 1000, WAITING_MAX = 4 * 1024 * 1024 };

struct online_user {
    struct table_entry entry; /* its key is the name */
    struct list link;
    bool is_seen; /* by the read that is under way */
    char name[];
};

struct online_set {
    struct node *node;
    unsigned server;
    struct table table;
    struct list list;
    struct buffer waiting; /* messages that came during a read, packed */
    uint64_t version, read_version;
    char cursor[24];
    bool is_known, is_reading, must_read, is_doubtful;
    struct node_timer retry;
};

struct online {
    bool is_watched;
    bool has_reported; /* all users */
    char *channel;
    struct online_set sets[];
};

static void read_set(struct online_set *set);

static struct slice nothing(void) {
    return (struct slice){NULL, 0};
}

/* ---- life ---- */

struct online *online_new(struct node *node) {
    struct online *online = mem_zalloc(sizeof *online + node->redis.count * sizeof *online->sets);
    struct slice channel = node_common_key(node, "users", nothing());
    online->channel = mem_strndup(channel.bytes, channel.len);
    for (unsigned i = 0; i < node->redis.count; i++) {
        online->sets[i].node = node;
        online->sets[i].server = i;
        list_init(&online->sets[i].list);
    }
    return online;
}

static void forget(struct online_set *set, struct online_user *user) {
    list_remove(&user->link);
    table_remove(&set->table, &user->entry);
    mem_free(user);
}

static void clear(struct online_set *set) {
    while (!list_empty(&set->list))
        forget(set, LIST_OWNER(set->list.next, struct online_user, link));
    table_close(&set->table);
    buffer_free(&set->waiting);
    set->is_known = false;
}

void online_free(struct node *node) {
    for (unsigned i = 0; i < node->redis.count; i++)
        clear(&node->online->sets[i]);
    mem_free(node->online->channel);
    mem_free(node->online);
}

/* ---- users ---- */

static void report(struct online_set *set, struct slice name, bool is_online) {
    struct node *node = set->node;
    if (node->bus.online != NULL)
        node->bus.online(node->bus.user, name, is_online);
}

static struct online_user *find(struct online_set *set, struct slice name) {
    struct table_entry *entry = table_find(&set->table, name);
    return entry == NULL ? NULL : TABLE_OWNER(entry, struct online_user, entry);
}

/* Returns true if the user is new. */
static bool add(struct online_set *set, struct slice name) {
    struct online_user *user = find(set, name);
    bool is_new = user == NULL;
    if (is_new) {
        user = mem_zalloc(sizeof *user + name.len);
        memcpy(user->name, name.bytes, name.len);
        user->entry.key = (struct slice){user->name, name.len};
        table_add(&set->table, &user->entry);
        list_append(&set->list, &user->link);
    }
    user->is_seen = true;
    return is_new;
}

/* ---- reading ---- */

static void on_retry(struct node *node, struct node_timer *timer) {
    (void)node;
    struct online_set *set = NODE_TIMER_OWNER(timer, struct online_set, retry);
    if (set->node->servers[set->server].is_up && set->node->online->is_watched)
        read_set(set);
}

/* The read has not succeeded: again later. */
static void give_up(struct online_set *set, bool is_down) {
    set->is_reading = set->is_known = false;
    buffer_drop(&set->waiting, set->waiting.len);
    if (is_down && set->node->servers[set->server].is_up && set->node->online->is_watched)
        read_set(set); /* it is up again */
    else if (!is_down && set->node->online->is_watched)
        node_set_timer(set->node, &set->retry, set->node->now_ms + RETRY_MS, on_retry);
}

static void remove_unseen(struct online_set *set) {
    set->is_doubtful = !leases_all_settled(set->node, set->server);
    for (struct list *link = set->list.next, *next; link != &set->list; link = next) {
        next = link->next;
        struct online_user *user = LIST_OWNER(link, struct online_user, link);
        if (user->is_seen || set->is_doubtful)
            continue;
        report(set, user->entry.key, false);
        forget(set, user);
    }
}

static void apply(struct online_set *set, bool is_own, struct slice body) {
    uint64_t version;
    if (!unpack_number(&body, &version) || body.len < 2) {
        set->node->figures.damaged++;
        return;
    }
    if (version <= set->version || set->is_reading)
        return;
    if (version != set->version + 1) {
        read_set(set);
        return;
    }
    set->version = version;
    bool is_online = body.bytes[0] != 0;
    slice_skip(&body, 1);
    if (is_online) {
        if (add(set, body) && !is_own)
            report(set, body, true);
        return;
    }
    struct online_user *user = find(set, body);
    report(set, body, false);
    if (user != NULL)
        forget(set, user);
}

/* The sets of all servers have been read, perhaps for the first time. */
static void report_all(struct node *node) {
    for (unsigned server = 0; server < node->redis.count; server++)
        if (!node->online->sets[server].is_known)
            return;
    if (!node->online->has_reported && node->bus.online != NULL)
        node->bus.online(node->bus.user, nothing(), true);
    node->online->has_reported = true;
}

static void end_read(struct online_set *set) {
    set->is_reading = false;
    set->is_known = true;
    set->version = set->read_version;
    remove_unseen(set);
    report_all(set->node);
    struct buffer waiting = set->waiting;
    set->waiting = (struct buffer){0};
    struct slice from = {buffer_start(&waiting), waiting.len}, body;
    uint64_t is_own;
    while (unpack_number(&from, &is_own) && unpack_text(&from, &body))
        apply(set, is_own != 0, body);
    buffer_free(&waiting);
    if (set->must_read && !set->is_reading)
        read_set(set);
}

static void scan(struct online_set *set);

static void on_scanned(void *context, const struct redisReply *reply) {
    struct online_set *set = context;
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_ARRAY || !set->node->online->is_watched) {
        give_up(set, reply == NULL);
        return;
    }
    const struct redisReply *names = reply->element[1];
    for (size_t i = 0; i < names->elements; i++) {
        struct slice name = {names->element[i]->str, names->element[i]->len};
        if (names->element[i]->type == REDIS_REPLY_STRING && add(set, name))
            report(set, name, true);
    }
    snprintf(set->cursor, sizeof set->cursor, "%s", reply->element[0]->str);
    if (strcmp(set->cursor, "0") == 0)
        end_read(set);
    else
        scan(set);
}

static void scan(struct online_set *set) {
    struct node *node = set->node;
    char count[16];
    snprintf(count, sizeof count, "%d", SCAN_USERS);
    const struct slice argv[] = {
        {"SSCAN", 5},    slice_of(node->online->channel), slice_of(set->cursor), {"COUNT", 5},
        slice_of(count),
    };
    node->redis.command(node->redis.user, set->server, 5, argv, on_scanned, set);
}

static void on_version(void *context, const struct redisReply *reply) {
    struct online_set *set = context;
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR || !set->node->online->is_watched) {
        give_up(set, reply == NULL);
        return;
    }
    set->read_version = reply->type == REDIS_REPLY_STRING ? strtoull(reply->str, NULL, 10) : 0;
    for (struct list *link = set->list.next; link != &set->list; link = link->next)
        LIST_OWNER(link, struct online_user, link)->is_seen = false;
    strcpy(set->cursor, "0");
    scan(set);
}

static void read_set(struct online_set *set) {
    struct node *node = set->node;
    set->must_read = set->is_reading;
    if (set->is_reading)
        return;
    set->is_reading = true;
    const struct slice argv[] = {{"GET", 3}, node_common_key(node, "users:v", nothing())};
    node->redis.command(node->redis.user, set->server, 2, argv, on_version, set);
}

/* ---- what happens ---- */

bool online_is_channel(const struct node *node, struct slice channel) {
    return slice_is(channel, node->online->channel);
}

void online_watch(struct node *node, bool on) {
    struct online *online = node->online;
    if (online->is_watched == on)
        return;
    online->is_watched = on;
    for (unsigned server = 0; server < node->redis.count; server++) {
        struct slice channel = slice_of(online->channel);
        if (on)
            node->redis.subscribe(node->redis.user, server, channel);
        else
            node->redis.unsubscribe(node->redis.user, server, channel);
        if (!on)
            clear(&online->sets[server]);
    }
    online->has_reported = false;
    if (!on && node->bus.online != NULL)
        node->bus.online(node->bus.user, nothing(), false);
}

void online_subscribed(struct node *node, unsigned server) {
    if (node->online->is_watched && node->servers[server].is_up)
        read_set(&node->online->sets[server]);
}

void online_up(struct node *node, unsigned server) {
    online_subscribed(node, server); /* all channels are, before a server is up */
}

void online_machines_changed(struct node *node, unsigned server, bool is_new_life) {
    struct online_set *set = &node->online->sets[server];
    if (node->online->is_watched && (set->is_doubtful || is_new_life))
        read_set(set);
}

void online_message(struct node *node, unsigned server, const struct protocol_head *head,
                    struct slice body) {
    struct online_set *set = &node->online->sets[server];
    bool is_own = slice_equal(head->sender, node_id(node));
    if (!node->online->is_watched || (!set->is_known && !set->is_reading))
        return;
    if (!set->is_reading) {
        apply(set, is_own, body);
        return;
    }
    if (set->waiting.len + body.len > WAITING_MAX) {
        set->must_read = true;
        buffer_drop(&set->waiting, set->waiting.len);
        return;
    }
    struct buffer_sink sink = buffer_sink_of(&set->waiting);
    pack_number(&sink.sink, is_own);
    pack_text(&sink.sink, body.bytes, body.len);
}
