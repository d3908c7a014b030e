/* leases.c -- which machines live, on each server, by the server's clock.
 *
 * A machine sends a heartbeat to each server, and gets the heartbeats of all others as answer. One
 * that is silent for longer than the lease is dead: the first machine that notices it removes its
 * members (sweeps.c). What a machine has lost on a server, by FLUSHALL, by a restart or because the
 * others took it for dead, it learns from the answer to its next heartbeat, and announces its
 * members anew.
 *
 * No machine is taken for dead while this one itself, or the server, was away just now: the
 * heartbeats of the others may be under way. */
#include "cluster/node/node_parts.h"

#include "base/log/log.h"
#include "base/mem.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

/* The clock of a server has jumped, if it has moved by so much more or less than ours. */
enum { JUMP_MS = 2000, ROUND_TRIP_MAX_MS = 1000 };
enum { RETRY_MS = 1000, MARK_MAX = 160 };

struct machine {
    struct table_entry entry; /* its key is the id */
    struct list link;
    char id[CONN_ID_NODE_LEN + 1];
    char life[64];       /* of the data in which it was seen last */
    char announced[64];  /* the life in which it has announced its members */
    char subscribed[64]; /* the run of the server in which it is subscribed */
    uint64_t seen_at;    /* monotonic ms */
    bool is_listed;      /* in the last answer */
    bool was_settled;    /* it had announced its members */
};

struct lease {
    struct node *node;
    unsigned server;
    struct node_timer timer;
    bool is_under_way, is_wanted; /* a heartbeat; another one as soon as it is answered */
    bool is_registered;           /* answered since the server was last up */
    uint64_t sent_at;
    char life[64], announced[64]; /* of the data; "": none */
    int64_t clock_ms;             /* the server's clock minus ours */
    bool has_clock;
    uint64_t judge_at;     /* monotonic ms: from then on others may be dead */
    struct table machines; /* the others */
    struct list list;
};

/* A machine that has sent something, and that is not in the list: it may have begun just now. */
struct unlisted {
    struct list link;
    char id[CONN_ID_NODE_LEN + 1];
    bool is_asked; /* the next answer of the first server decides */
};

enum { UNLISTED_MAX = 64 };

struct leases {
    bool has_left;
    bool has_list; /* the first server's list has been read */
    struct list unlisted;
    unsigned unlisted_count;
    char known[CONN_ID_NODE_LEN + 1]; /* a machine that is in a list; "": any */
    struct lease servers[];
};

static void beat(struct lease *lease);

/* A third of what may pass without a heartbeat, and less. */
static uint64_t period(const struct node *node) {
    return node->lease_ms * 3 / 10;
}

/* How long others may need for a heartbeat after an outage: a reconnect takes some seconds. */
static uint64_t patience(const struct node *node) {
    return node->lease_ms * 7 / 10;
}

/* ---- life ---- */

struct leases *leases_new(struct node *node) {
    struct leases *leases =
        mem_zalloc(sizeof *leases + node->redis.count * sizeof *leases->servers);
    list_init(&leases->unlisted);
    for (unsigned server = 0; server < node->redis.count; server++) {
        struct lease *lease = &leases->servers[server];
        lease->node = node;
        lease->server = server;
        list_init(&lease->list);
    }
    return leases;
}

static void forget(struct lease *lease, struct machine *machine) {
    list_remove(&machine->link);
    table_remove(&lease->machines, &machine->entry);
    mem_free(machine);
}

static void forget_unlisted(struct leases *leases, struct unlisted *machine) {
    list_remove(&machine->link);
    leases->unlisted_count--;
    mem_free(machine);
}

void leases_free(struct leases *leases) {
    if (leases == NULL)
        return;
    const struct node *node = leases->servers[0].node;
    while (!list_empty(&leases->unlisted))
        forget_unlisted(leases, LIST_OWNER(leases->unlisted.next, struct unlisted, link));
    for (unsigned server = 0; server < node->redis.count; server++) {
        struct lease *lease = &leases->servers[server];
        while (!list_empty(&lease->list))
            forget(lease, LIST_OWNER(lease->list.next, struct machine, link));
        table_close(&lease->machines);
    }
    mem_free(leases);
}

static struct machine *find(const struct lease *lease, struct slice id) {
    struct table_entry *entry = table_find(&lease->machines, id);
    return entry == NULL ? NULL : TABLE_OWNER(entry, struct machine, entry);
}

/* A machine lives if any server says so. */
static bool lives(const struct node *node, struct slice id) {
    for (unsigned server = 0; server < node->redis.count; server++)
        if (find(&node->leases->servers[server], id) != NULL)
            return true;
    return false;
}

static bool is_unlisted(const struct leases *leases, struct slice id) {
    for (const struct list *link = leases->unlisted.next; link != &leases->unlisted;
         link = link->next)
        if (slice_is(id, LIST_OWNER(link, struct unlisted, link)->id))
            return true;
    return false;
}

static void tell(const struct node *node, const char *id, bool is_alive) {
    if (node->bus.machine != NULL)
        node->bus.machine(node->bus.user, id, is_alive);
}

static void report(struct lease *lease, const char *id, bool is_alive) {
    struct node *node = lease->node;
    struct log_line line;
    if (is_alive)
        log_begin(&line, LOG_INFO, "cluster_node_joined");
    else
        log_begin(&line, LOG_INFO, "cluster_node_left");
    log_str(&line, "node", id);
    log_end(&line);
    node->figures.machines += is_alive ? 1 : (uint64_t)-1;
    if (!is_alive || !is_unlisted(node->leases, slice_of(id))) /* else the bus has it */
        tell(node, id, is_alive);
}

static struct machine *add(struct lease *lease, struct slice id) {
    bool is_known = lives(lease->node, id);
    struct machine *machine = mem_zalloc(sizeof *machine);
    memcpy(machine->id, id.bytes, CONN_ID_NODE_LEN);
    machine->entry.key = (struct slice){machine->id, CONN_ID_NODE_LEN};
    table_add(&lease->machines, &machine->entry);
    list_append(&lease->list, &machine->link);
    if (!is_known)
        report(lease, machine->id, true);
    return machine;
}

static void remove_machine(struct lease *lease, struct machine *machine) {
    char id[CONN_ID_NODE_LEN + 1];
    memcpy(id, machine->id, sizeof id);
    lease->node->leases->known[0] = '\0';
    forget(lease, machine);
    if (!lives(lease->node, slice_of(id)))
        report(lease, id, false);
}

/* ---- machines that have sent something ---- */

void leases_seen(struct node *node, struct slice id) {
    struct leases *leases = node->leases;
    if (memcmp(leases->known, id.bytes, CONN_ID_NODE_LEN) == 0)
        return;
    if (slice_equal(id, node_id(node)) || lives(node, id)) {
        memcpy(leases->known, id.bytes, CONN_ID_NODE_LEN);
        return;
    }
    if (leases->unlisted_count == UNLISTED_MAX || is_unlisted(leases, id))
        return;
    struct unlisted *machine = mem_zalloc(sizeof *machine);
    memcpy(machine->id, id.bytes, CONN_ID_NODE_LEN);
    list_append(&leases->unlisted, &machine->link);
    leases->unlisted_count++;
    tell(node, machine->id, true);
    beat(&leases->servers[0]);
}

/* A heartbeat for the first server is sent. */
static void ask_for_unlisted(struct leases *leases) {
    for (struct list *link = leases->unlisted.next; link != &leases->unlisted; link = link->next)
        LIST_OWNER(link, struct unlisted, link)->is_asked = true;
}

/* Its answer has been read. */
static void judge_unlisted(struct node *node) {
    struct leases *leases = node->leases;
    for (struct list *link = leases->unlisted.next, *next; link != &leases->unlisted; link = next) {
        next = link->next;
        struct unlisted *machine = LIST_OWNER(link, struct unlisted, link);
        if (!machine->is_asked)
            continue;
        if (!lives(node, slice_of(machine->id)))
            tell(node, machine->id, false);
        forget_unlisted(leases, machine);
    }
    if (!leases->has_list) {
        leases->has_list = true;
        tell(node, node->id, true);
    }
}

/* ---- what an answer says ---- */

static struct slice text_of(const struct redisReply *reply) {
    return reply->type == REDIS_REPLY_STRING ? (struct slice){reply->str, reply->len}
                                             : (struct slice){"", 0};
}

/* The list at this place of an answer, with so many values for each element. NULL: there is none.
 */
static const struct redisReply *list_at(const struct redisReply *reply, size_t at, size_t values) {
    const struct redisReply *list = reply->element[at];
    return list->type == REDIS_REPLY_ARRAY && list->elements % values == 0 ? list : NULL;
}

static void copy_text(char out[64], struct slice text) {
    size_t len = text.len < 63 ? text.len : 63;
    memcpy(out, text.bytes, len);
    out[len] = '\0';
}

/* A number of Redis, whose texts end with a NUL. */
static int64_t number_of(const struct redisReply *reply) {
    return reply->type == REDIS_REPLY_STRING    ? strtoll(reply->str, NULL, 10)
           : reply->type == REDIS_REPLY_INTEGER ? reply->integer
                                                : 0;
}

/* "RUN LIFE": see lease.lua. Returns true if the machine has changed. */
static bool read_ready(struct machine *machine, struct slice ready) {
    const char *space = ready.len == 0 ? NULL : memchr(ready.bytes, ' ', ready.len);
    size_t first = space == NULL ? ready.len : (size_t)(space - ready.bytes);
    struct slice life = {ready.bytes + first, ready.len - first};
    if (life.len > 0)
        slice_skip(&life, 1);
    struct slice run = {ready.bytes, first};
    bool is_same = slice_is(life, machine->announced) && slice_is(run, machine->subscribed);
    copy_text(machine->subscribed, run);
    copy_text(machine->announced, life);
    return !is_same;
}

/* In this life of the data, and this run of the server: it may have come back with older data. */
static bool has_announced(const struct lease *lease, const struct machine *machine) {
    return strcmp(machine->announced, lease->life) == 0 &&
           strcmp(machine->subscribed, lease->node->servers[lease->server].facts.run_id) == 0;
}

/* No machine is dead before the others had the time for a heartbeat. */
static void postpone_judgement(struct lease *lease) {
    lease->judge_at = lease->node->now_ms + patience(lease->node);
}

/* Compares the clocks. An answer that took long says nothing about them. */
static void read_clock(struct lease *lease, int64_t clock_ms) {
    const struct node *node = lease->node;
    if (node->now_ms - lease->sent_at > ROUND_TRIP_MAX_MS)
        return;
    int64_t ahead = clock_ms - (int64_t)node->now_ms;
    if (lease->has_clock && llabs(ahead - lease->clock_ms) > JUMP_MS)
        postpone_judgement(lease);
    lease->clock_ms = ahead;
    lease->has_clock = true;
}

static bool is_id(struct slice id) {
    return id.len == CONN_ID_NODE_LEN;
}

/* The machines of an answer. `*wait`: how long until the first may be dead. Returns true if one has
 * come, gone or announced its members. */
static bool read_machines(struct lease *lease, const struct redisReply *list, int64_t clock_ms,
                          int64_t *wait) {
    struct node *node = lease->node;
    bool changed = false;
    for (size_t i = 0; i < list->elements; i += 3) {
        struct slice id = text_of(list->element[i]);
        int64_t heartbeat = number_of(list->element[i + 1]);
        if (!is_id(id) || slice_equal(id, node_id(node)))
            continue;
        struct machine *machine = find(lease, id);
        int64_t left = heartbeat + (int64_t)node->lease_ms - clock_ms;
        if (left < 0) {
            int64_t until = (int64_t)(lease->judge_at - node->now_ms);
            if (until <= 0)
                sweeps_begin(node, lease->server, id);
            else if (until < *wait)
                *wait = until;
            if (machine != NULL)
                machine->is_listed = until > 0;
            continue;
        }
        if (machine == NULL) {
            machine = add(lease, id);
            changed = true;
        }
        if (left < *wait)
            *wait = left;
        machine->is_listed = true;
        machine->seen_at = node->now_ms;
        copy_text(machine->life, slice_of(lease->life));
        if (read_ready(machine, text_of(list->element[i + 2])))
            changed = true;
        machine->was_settled |= has_announced(lease, machine);
    }
    return changed;
}

/* Machines that the answer does not name have left, or the others have taken them for dead. In a
 * new life of the data they may come yet. */
static bool remove_absent(struct lease *lease, int64_t *wait) {
    struct node *node = lease->node;
    bool changed = false;
    for (struct list *link = lease->list.next, *next; link != &lease->list; link = next) {
        next = link->next;
        struct machine *machine = LIST_OWNER(link, struct machine, link);
        if (machine->is_listed)
            continue;
        int64_t left = (int64_t)(machine->seen_at + patience(node) - node->now_ms);
        if (strcmp(machine->life, lease->life) != 0 && left > 0) {
            *wait = left < *wait ? left : *wait;
        } else {
            remove_machine(lease, machine);
            changed = true;
        }
    }
    return changed;
}

static void read_sweeping(struct lease *lease, const struct redisReply *list, int64_t clock_ms) {
    for (size_t i = 0; i < list->elements; i += 2) {
        struct slice id = text_of(list->element[i]);
        if (is_id(id) && clock_ms - number_of(list->element[i + 1]) > SWEEPS_MAX_MS)
            sweeps_begin(lease->node, lease->server, id);
    }
}

/* In a new life of the data, the time in which others may come begins now. */
static void begin_life(struct lease *lease, struct slice life) {
    copy_text(lease->life, life);
    lease->announced[0] = '\0';
    for (struct list *link = lease->list.next; link != &lease->list; link = link->next)
        LIST_OWNER(link, struct machine, link)->seen_at = lease->node->now_ms;
}

/* What this machine learns about itself from its heartbeat. Returns true in a new life. */
static bool read_own(struct lease *lease, struct slice life, struct slice before,
                     int64_t clock_ms) {
    struct node *node = lease->node;
    bool is_new_life = !slice_is(life, lease->life);
    bool was_lost = before.len == 0;
    if (was_lost || clock_ms - strtoll(before.bytes, NULL, 10) > (int64_t)node->lease_ms / 2)
        postpone_judgement(lease);
    if (is_new_life)
        begin_life(lease, life);
    if (was_lost)
        lease->announced[0] = '\0';
    if (!lease->is_registered || is_new_life || was_lost) {
        lease->is_registered = true;
        members_registered(node, lease->server, lease->announced[0] == '\0');
    }
    return is_new_life;
}

/* { life, heartbeat before, now, machines, those that are being swept }. Returns how long until the
 * next heartbeat. */
static int64_t read_answer(struct lease *lease, const struct redisReply *reply) {
    struct node *node = lease->node;
    int64_t wait = (int64_t)period(node);
    const struct redisReply *machines = list_at(reply, 3, 3), *sweeping = list_at(reply, 4, 2);
    int64_t clock_ms = number_of(reply->element[2]);
    if (machines == NULL || sweeping == NULL)
        return wait;
    read_clock(lease, clock_ms);
    bool is_new_life =
        read_own(lease, text_of(reply->element[0]), text_of(reply->element[1]), clock_ms);
    for (struct list *link = lease->list.next; link != &lease->list; link = link->next)
        LIST_OWNER(link, struct machine, link)->is_listed = false;
    bool changed = read_machines(lease, machines, clock_ms, &wait);
    changed |= remove_absent(lease, &wait);
    ready_registered(node, lease->server);
    read_sweeping(lease, sweeping, clock_ms);
    if (lease->server == 0)
        judge_unlisted(node);
    if (changed || is_new_life) {
        mirror_machines_changed(node, lease->server, is_new_life);
        online_machines_changed(node, lease->server, is_new_life);
    }
    return wait + 1; /* then the first one that may be dead is */
}

/* ---- heartbeats ---- */

static void on_time(struct node *node, struct node_timer *timer) {
    (void)node;
    beat(NODE_TIMER_OWNER(timer, struct lease, timer));
}

static void on_answer(void *context, const struct redisReply *reply) {
    struct lease *lease = context;
    struct node *node = lease->node;
    lease->is_under_way = false;
    if (node->leases->has_left)
        return;
    int64_t wait = RETRY_MS;
    lease->is_wanted |= reply == NULL;
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 5)
        wait = read_answer(lease, reply);
    if (lease->is_wanted)
        beat(lease); /* while the server is down, leases_up() does it */
    else
        node_set_timer(node, &lease->timer, node->now_ms + (uint64_t)wait, on_time);
}

static void beat(struct lease *lease) {
    struct node *node = lease->node;
    if (!node->servers[lease->server].is_up || node->leases->has_left)
        return;
    lease->is_wanted = lease->is_under_way;
    if (lease->is_under_way)
        return;
    char ready[MARK_MAX];
    snprintf(ready, sizeof ready, "%s %s", node->servers[lease->server].facts.run_id,
             lease->announced);
    lease->is_under_way = true;
    lease->sent_at = node->now_ms;
    if (lease->server == 0)
        ask_for_unlisted(node->leases);
    const struct slice argv[] = {{"beat", 4}, node_id(node), slice_of(ready)};
    node->redis.call(node->redis.user, lease->server, REDIS_SCRIPT_LEASE,
                     node_common_key(node, "nodes", (struct slice){NULL, 0}), 3, argv, on_answer,
                     lease);
}

void leases_up(struct node *node, unsigned server) {
    struct lease *lease = &node->leases->servers[server];
    if (!node->servers[server].facts.same_run) /* what it has may be older than what it had */
        lease->announced[0] = '\0';
    beat(lease);
}

void leases_down(struct node *node, unsigned server) {
    struct lease *lease = &node->leases->servers[server];
    lease->is_registered = false;
    lease->is_wanted = false;
    node_stop_timer(node, &lease->timer);
}

void leases_beat(struct node *node, unsigned server) {
    beat(&node->leases->servers[server]);
}

void leases_lost(struct node *node, unsigned server) {
    struct lease *lease = &node->leases->servers[server];
    lease->is_registered = false;
    beat(lease);
}

/* ---- questions ---- */

bool leases_is_registered(const struct node *node, unsigned server) {
    return node->leases->servers[server].is_registered;
}

void leases_announced(struct node *node, unsigned server) {
    struct lease *lease = &node->leases->servers[server];
    if (strcmp(lease->announced, lease->life) == 0)
        return;
    memcpy(lease->announced, lease->life, sizeof lease->announced);
    beat(lease);
}

bool leases_lives(const struct node *node, unsigned server, struct slice machine) {
    return find(&node->leases->servers[server], machine) != NULL;
}

void leases_each(struct node *node, unsigned server, void (*f)(void *user, struct slice machine),
                 void *user) {
    const struct list *list = &node->leases->servers[server].list;
    for (const struct list *link = list->next; link != list; link = link->next)
        f(user, LIST_OWNER(link, struct machine, link)->entry.key);
}

bool leases_is_settled(const struct node *node, unsigned server, struct slice machine) {
    const struct lease *lease = &node->leases->servers[server];
    const struct machine *found = find(lease, machine);
    return lease->is_registered && (found == NULL || has_announced(lease, found));
}

bool leases_is_doubtful(const struct node *node, unsigned server, struct slice machine) {
    const struct lease *lease = &node->leases->servers[server];
    const struct machine *found = find(lease, machine);
    return found != NULL && found->was_settled && !has_announced(lease, found);
}

bool leases_all_settled(const struct node *node, unsigned server) {
    const struct lease *lease = &node->leases->servers[server];
    for (const struct list *link = lease->list.next; link != &lease->list; link = link->next)
        if (!has_announced(lease, LIST_OWNER(link, struct machine, link)))
            return false;
    return lease->is_registered;
}

/* ---- leaving ---- */

void leases_leave(struct node *node) {
    node->leases->has_left = true;
    for (unsigned server = 0; server < node->redis.count; server++) {
        node_stop_timer(node, &node->leases->servers[server].timer);
        if (!node->servers[server].is_up)
            continue;
        const struct slice argv[] = {{"leave", 5}, node_id(node)};
        node->redis.call(node->redis.user, server, REDIS_SCRIPT_LEASE,
                         node_common_key(node, "nodes", (struct slice){NULL, 0}), 2, argv, NULL,
                         NULL);
        sweeps_leave(node, server);
    }
}
