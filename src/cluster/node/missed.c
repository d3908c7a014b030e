/* missed.c -- what this machine has not got while a server was away for it alone.
 *
 * A server keeps no message of a room without a memory. The next message of a sender shows how many
 * are missing before it (peers.c), but there may be no next one, or no earlier one. So after an
 * outage this machine asks the others what they have published meanwhile, and counts what it
 * lacks. */
#include "cluster/node/node_parts.h"

#include "base/mem.h"

/* The others may be away as well, and what they publish may still be under way. An outage is
 * noticed some time after it has begun. */
enum { ASK_AFTER_MS = 1000, COMPARE_AFTER_MS = 1000, NOTICED_AFTER_MS = 5000 };
enum { ANSWER_MAX_MS = 10000, ANSWER_MAX_BYTES = 1024 * 1024 };

/* A machine that is asked. */
struct inquiry {
    struct list link;
    struct node *node;
    struct node_timer timer;
    char machine[CONN_ID_NODE_LEN + 1];
    uint64_t answered_at;
    struct buffer answer;
};

struct missed {
    uint64_t began_at; /* the outage, monotonic ms; 0: nothing is to be asked */
    struct list asked;
    struct node_timer asking;
};

struct missed *missed_new(struct node *node) {
    (void)node;
    struct missed *missed = mem_zalloc(sizeof *missed);
    list_init(&missed->asked);
    return missed;
}

static void inquiry_free(struct inquiry *inquiry) {
    node_stop_timer(inquiry->node, &inquiry->timer);
    list_remove(&inquiry->link);
    buffer_free(&inquiry->answer);
    mem_free(inquiry);
}

void missed_free(struct node *node) {
    struct list *asked = &node->missed->asked;
    while (!list_empty(asked))
        inquiry_free(LIST_OWNER(asked->next, struct inquiry, link));
    node_stop_timer(node, &node->missed->asking);
    mem_free(node->missed);
}

/* ---- asking ---- */

static void on_compare(struct node *node, struct node_timer *timer) {
    struct inquiry *inquiry = NODE_TIMER_OWNER(timer, struct inquiry, timer);
    struct slice from = {buffer_start(&inquiry->answer), inquiry->answer.len}, channel;
    uint64_t sequence, age_ms, lost = 0;
    while (unpack_text(&from, &channel) && unpack_number(&from, &sequence) &&
           unpack_number(&from, &age_ms)) {
        uint64_t since_ms;
        struct senders *senders = node_senders(node, channel, &since_ms);
        bool was_subscribed =
            senders != NULL && since_ms != 0 && age_ms < inquiry->answered_at - since_ms;
        if (was_subscribed)
            lost += peers_compare(node, slice_of(inquiry->machine), senders, sequence);
    }
    if (lost > 0)
        peers_note_lost(node, inquiry->machine, lost);
    inquiry_free(inquiry);
}

static void on_answer(struct node *node, void *context, enum link_status status,
                      struct slice body) {
    struct inquiry *inquiry = context;
    if (status != LINK_OK || body.len > ANSWER_MAX_BYTES) {
        inquiry_free(inquiry);
        return;
    }
    buffer_add(&inquiry->answer, body.bytes, body.len);
    inquiry->answered_at = node->now_ms;
    node_set_timer(node, &inquiry->timer, node->now_ms + COMPARE_AFTER_MS, on_compare);
}

static void ask(void *user, struct slice machine) {
    struct node *node = user;
    struct buffer body = {0};
    struct buffer_sink sink = buffer_sink_of(&body);
    pack_number(&sink.sink, node->now_ms - node->missed->began_at + NOTICED_AFTER_MS);
    struct inquiry *inquiry = mem_zalloc(sizeof *inquiry);
    inquiry->node = node;
    memcpy(inquiry->machine, machine.bytes, CONN_ID_NODE_LEN);
    list_append(&node->missed->asked, &inquiry->link);
    direct_ask(node, machine, QUESTION_MISSED, (struct slice){buffer_start(&body), body.len},
               ANSWER_MAX_MS, on_answer, inquiry);
    buffer_free(&body);
}

static void on_ask(struct node *node, struct node_timer *timer) {
    if (!node->servers[COMMON_SERVER].is_up || !ready_is(node, COMMON_SERVER)) {
        node_set_timer(node, timer, node->now_ms + ASK_AFTER_MS, on_ask);
        return;
    }
    leases_each(node, COMMON_SERVER, ask, node);
    node->missed->began_at = 0;
}

void missed_down(struct node *node) {
    if (node->missed->began_at == 0) /* else an earlier outage is not over */
        node->missed->began_at = node->now_ms;
}

void missed_up(struct node *node) {
    if (node->missed->began_at != 0)
        node_set_timer(node, &node->missed->asking, node->now_ms + ASK_AFTER_MS, on_ask);
}

/* ---- answering ---- */

void missed_asked(struct node *node, const struct direct_asker *asker, struct slice body) {
    uint64_t ms;
    struct buffer answer = {0};
    struct buffer_sink sink = buffer_sink_of(&answer);
    if (!unpack_number(&body, &ms))
        return;
    outgoing_since(node, ms, &sink.sink, ANSWER_MAX_BYTES / 2);
    direct_answer(node, asker, LINK_OK, (struct slice){buffer_start(&answer), answer.len});
    buffer_free(&answer);
}
