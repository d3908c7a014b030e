/* peers.c -- the other machines, by the messages that come from them.
 *
 * A machine publishes again what may not have arrived, so a message can come twice. It numbers its
 * messages in each partition, and they come in this order; a message whose number is not above the
 * last one has come before. It also numbers its messages in each channel: a gap in this sequence
 * says how many are missing.
 *
 * Ids come from outside, so the number of machines has a limit: the one that has been silent for
 * longest is forgotten. */
#include "cluster/node/node_parts.h"

#include "base/log/log.h"
#include "base/mem.h"

enum { PEERS_MAX = 4096, SENDERS_MAX = 4096 };

struct peer {
    struct table_entry entry; /* its key is the id */
    struct list link;         /* the one that was silent for longest is the first */
    uint32_t serial;          /* never given twice */
    char id[CONN_ID_NODE_LEN + 1];
    uint64_t numbers[LANES]; /* of its last message */
};

struct peers {
    struct table by_id;
    struct list list;
    struct peer *last; /* of the last message; NULL: none */
    uint32_t serials;
};

struct peers *peers_new(struct node *node) {
    (void)node;
    struct peers *peers = mem_zalloc(sizeof *peers);
    list_init(&peers->list);
    return peers;
}

static void forget(struct peers *peers, struct peer *peer) {
    if (peers->last == peer)
        peers->last = NULL;
    list_remove(&peer->link);
    table_remove(&peers->by_id, &peer->entry);
    mem_free(peer);
}

void peers_free(struct peers *peers) {
    if (peers == NULL)
        return;
    while (!list_empty(&peers->list))
        forget(peers, LIST_OWNER(peers->list.next, struct peer, link));
    table_close(&peers->by_id);
    mem_free(peers);
}

/* The machine with this id, which has just sent something. */
static struct peer *find(struct peers *peers, struct slice id) {
    if (peers->last != NULL && memcmp(peers->last->id, id.bytes, CONN_ID_NODE_LEN) == 0)
        return peers->last;
    struct table_entry *entry = table_find(&peers->by_id, id);
    struct peer *peer;
    if (entry != NULL) {
        peer = TABLE_OWNER(entry, struct peer, entry);
        list_remove(&peer->link);
    } else {
        if (peers->by_id.count == PEERS_MAX)
            forget(peers, LIST_OWNER(peers->list.next, struct peer, link));
        peer = mem_zalloc(sizeof *peer);
        memcpy(peer->id, id.bytes, CONN_ID_NODE_LEN);
        peer->entry.key = (struct slice){peer->id, CONN_ID_NODE_LEN};
        peer->serial = ++peers->serials;
        table_add(&peers->by_id, &peer->entry);
    }
    list_append(&peers->list, &peer->link);
    return peers->last = peer;
}

/* The sender's entry, behind the one before it, so that those that send most are found first. NULL:
 * it has none. */
static struct sender *find_sender(struct senders *senders, uint32_t serial) {
    for (uint32_t i = 0; i < senders->count; i++) {
        if (senders->list[i].peer != serial)
            continue;
        if (i == 0)
            return &senders->list[0];
        struct sender found = senders->list[i];
        senders->list[i] = senders->list[i - 1];
        senders->list[i - 1] = found;
        return &senders->list[i - 1];
    }
    return NULL;
}

static void add_sender(struct senders *senders, struct sender sender) {
    if (senders->count == SENDERS_MAX) /* the last one sends least */
        senders->count--;
    if (senders->count == senders->capacity) {
        senders->capacity = senders->capacity == 0 ? 4 : senders->capacity * 2;
        senders->list = mem_realloc(senders->list, senders->capacity * sizeof *senders->list);
    }
    senders->list[senders->count++] = sender;
}

void peers_each_sender(struct node *node, const struct senders *senders,
                       void (*f)(void *user, struct slice machine, uint64_t sequence), void *user) {
    const struct list *list = &node->peers->list;
    for (const struct list *link = list->next; link != list; link = link->next) {
        const struct peer *peer = LIST_OWNER(link, struct peer, link);
        for (uint32_t i = 0; i < senders->count; i++)
            if (senders->list[i].peer == peer->serial)
                f(user, (struct slice){peer->id, CONN_ID_NODE_LEN}, senders->list[i].last);
    }
}

void peers_close_senders(struct senders *senders) {
    mem_free(senders->list);
    *senders = (struct senders){0};
}

void peers_note_lost(struct node *node, const char *machine, uint64_t count) {
    struct log_line line;
    node->figures.lost += count;
    log_begin_limited(&line, LOG_WARN, "cluster_lost");
    log_str(&line, "machine", machine);
    log_int(&line, "messages", (int64_t)count);
    log_str(&line, "why", "messages of this machine did not arrive");
    log_end(&line);
}

uint64_t peers_compare(struct node *node, struct slice machine, struct senders *senders,
                       uint64_t sequence) {
    const struct peer *peer = find(node->peers, machine);
    struct sender *sender = find_sender(senders, peer->serial);
    uint64_t missing = 1;
    if (sender == NULL) {
        add_sender(senders, (struct sender){peer->serial, sequence, sequence});
    } else if (sequence > sender->last) {
        missing = sequence - sender->last;
        sender->last = sequence;
    } else if (sequence < sender->first) {
        missing = sender->first - sequence;
        sender->first = sequence;
    } else {
        missing = 0;
    }
    return missing;
}

bool peers_accept(struct node *node, unsigned lane, const struct protocol_head *head,
                  struct senders *senders) {
    if (memcmp(head->sender.bytes, node->id, CONN_ID_NODE_LEN) == 0)
        return false;
    struct peer *peer = find(node->peers, head->sender);
    if (head->number <= peer->numbers[lane]) {
        node->figures.duplicates++;
        return false;
    }
    peer->numbers[lane] = head->number;
    struct sender *sender = find_sender(senders, peer->serial);
    if (sender == NULL) {
        add_sender(senders, (struct sender){peer->serial, head->sequence, head->sequence});
        return true;
    }
    if (head->sequence > sender->last + 1)
        peers_note_lost(node, peer->id, head->sequence - sender->last - 1);
    if (head->sequence < sender->last) /* the sender had forgotten the channel */
        sender->first = head->sequence;
    sender->last = head->sequence;
    return true;
}
