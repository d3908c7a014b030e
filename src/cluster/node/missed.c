/* missed.c -- what this machine has not got while a server was away for it alone.
 *
 * A server keeps no message of a room without a memory. The next message of a sender shows how many
 * are missing before it (peers.c), but there may be no next one. So after an outage this machine
 * asks the others for the last sequence of each channel in which they have published since
 * their last message that came here, and counts what it lacks. */
#include "cluster/node/node_parts.h"

#include "base/mem.h"

/* The others may be away as well, and what they publish may still be under way. */
enum { ASK_AFTER_MS = 1000, ANSWER_MAX_MS = 5000, COMPARE_AFTER_MS = 1000 };
enum { ANSWER_MAX_BYTES = 1024 * 1024 };

/* What one machine is to be asked. */
struct inquiry {
    struct list link;
    struct node_timer timer;
    char machine[CONN_ID_NODE_LEN + 1];
    struct buffer body; /* the last number in each lane; later the answer */
};

struct missed {
    struct list inquiries; /* made when the outage began */
    struct list asked;     /* those under way */
    struct node_timer asking;
};

struct missed *missed_new(struct node *node) {
    (void)node;
    struct missed *missed = mem_zalloc(sizeof *missed);
    list_init(&missed->inquiries);
    list_init(&missed->asked);
    return missed;
}

static void inquiry_free(struct node *node, struct inquiry *inquiry) {
    node_stop_timer(node, &inquiry->timer);
    list_remove(&inquiry->link);
    buffer_free(&inquiry->body);
    mem_free(inquiry);
}

static void free_all(struct node *node, struct list *list) {
    while (!list_empty(list))
        inquiry_free(node, LIST_OWNER(list->next, struct inquiry, link));
}

void missed_free(struct node *node) {
    free_all(node, &node->missed->inquiries);
    free_all(node, &node->missed->asked);
    node_stop_timer(node, &node->missed->asking);
    mem_free(node->missed);
}

/* ---- asking ---- */

static void prepare(struct node *node, const char *machine, const uint64_t *numbers) {
    struct inquiry *inquiry = mem_zalloc(sizeof *inquiry);
    struct buffer_sink sink = buffer_sink_of(&inquiry->body);
    memcpy(inquiry->machine, machine, sizeof inquiry->machine);
    for (unsigned lane = 0; lane < LANES; lane++)
        pack_number(&sink.sink, numbers[lane]);
    list_append(&node->missed->inquiries, &inquiry->link);
}

void missed_down(struct node *node) {
    node_stop_timer(node, &node->missed->asking);
    if (list_empty(&node->missed->inquiries)) /* else an earlier outage is not over */
        peers_each(node, prepare);
}

static void on_compare(struct node *node, struct node_timer *timer) {
    struct inquiry *inquiry = NODE_TIMER_OWNER(timer, struct inquiry, timer);
    struct slice from = {buffer_start(&inquiry->body), inquiry->body.len}, channel;
    uint64_t sequence;
    while (unpack_text(&from, &channel) && unpack_number(&from, &sequence)) {
        struct senders *senders = node_senders(node, channel);
        if (senders != NULL)
            peers_compare(node, slice_of(inquiry->machine), senders, sequence);
    }
    inquiry_free(node, inquiry);
}

static void on_answer(struct node *node, void *context, enum link_status status,
                      struct slice body) {
    struct inquiry *inquiry = context;
    if (status != LINK_OK || body.len > ANSWER_MAX_BYTES) {
        inquiry_free(node, inquiry);
        return;
    }
    buffer_drop(&inquiry->body, inquiry->body.len);
    buffer_add(&inquiry->body, body.bytes, body.len);
    node_set_timer(node, &inquiry->timer, node->now_ms + COMPARE_AFTER_MS, on_compare);
}

static void on_ask(struct node *node, struct node_timer *timer) {
    if (!ready_is(node, COMMON_SERVER)) { /* questions would wait as well */
        node_set_timer(node, timer, node->now_ms + ASK_AFTER_MS, on_ask);
        return;
    }
    while (!list_empty(&node->missed->inquiries)) {
        struct inquiry *inquiry = LIST_OWNER(node->missed->inquiries.next, struct inquiry, link);
        list_remove(&inquiry->link);
        list_append(&node->missed->asked, &inquiry->link);
        direct_ask(node, slice_of(inquiry->machine), QUESTION_MISSED,
                   (struct slice){buffer_start(&inquiry->body), inquiry->body.len}, ANSWER_MAX_MS,
                   on_answer, inquiry);
    }
}

void missed_up(struct node *node) {
    if (!list_empty(&node->missed->inquiries))
        node_set_timer(node, &node->missed->asking, node->now_ms + ASK_AFTER_MS, on_ask);
}

/* ---- answering ---- */

void missed_asked(struct node *node, const struct direct_asker *asker, struct slice body) {
    uint64_t numbers[LANES];
    struct buffer answer = {0};
    struct buffer_sink sink = buffer_sink_of(&answer);
    for (unsigned lane = 0; lane < LANES; lane++)
        if (!unpack_number(&body, &numbers[lane]))
            return;
    outgoing_since(node, numbers, &sink.sink, ANSWER_MAX_BYTES / 2);
    direct_answer(node, asker, LINK_OK, (struct slice){buffer_start(&answer), answer.len});
    buffer_free(&answer);
}
