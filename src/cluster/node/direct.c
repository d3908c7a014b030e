/* direct.c -- for single connections of other machines, and between machines: messages, closes,
 * questions and answers.
 *
 * The id of a connection begins with that of its machine. Each machine has a channel, and all of
 * this goes through the queue of what is published. */
#include "cluster/node/node_parts.h"

#include "base/mem.h"

struct question {
    struct table_entry entry; /* its key is the number */
    struct node_timer timer;
    uint64_t number;
    bool is_unreachable;
    char machine[CONN_ID_NODE_LEN + 1];
    direct_answer_fn *on_answer;
    void *context;
};

struct direct {
    struct senders senders; /* in this machine's channel */
    struct table questions; /* that are not answered */
    uint64_t numbers;
};

struct direct *direct_new(struct node *node) {
    (void)node;
    return mem_zalloc(sizeof(struct direct));
}

/* Ends a question. */
static void end_question(struct node *node, struct question *question, enum link_status status,
                         struct slice body) {
    direct_answer_fn *on_answer = question->on_answer;
    void *context = question->context;
    node_stop_timer(node, &question->timer);
    table_remove(&node->direct->questions, &question->entry);
    mem_free(question);
    on_answer(node, context, status, body);
}

void direct_free(struct node *node) {
    struct direct *direct = node->direct;
    struct table_entry *entry;
    while ((entry = table_any(&direct->questions)) != NULL)
        end_question(node, TABLE_OWNER(entry, struct question, entry), LINK_UNREACHABLE,
                     (struct slice){NULL, 0});
    table_close(&direct->questions);
    peers_close_senders(&direct->senders);
    mem_free(direct);
}

/* ---- out ---- */

/* For a machine, or for that of a connection: the beginning of the id says it. */
static struct sink *begin(struct node *node, const char *id, enum protocol_kind kind) {
    struct slice channel = node_common_key(node, "to", (struct slice){id, CONN_ID_NODE_LEN});
    return outgoing_begin(node, LANE_DIRECT, kind, channel);
}

struct sink *direct_begin(struct node *node, const char *machine, enum protocol_kind kind) {
    return begin(node, machine, kind);
}

void direct_end(struct node *node) {
    outgoing_end(node, COMMON_SERVER);
}

void direct_send(struct node *node, const struct link_item *item) {
    protocol_pack_send(begin(node, item->id, PROTOCOL_SEND), item, &node->bus.paths);
    outgoing_end(node, COMMON_SERVER);
}

void direct_close(struct node *node, const struct link_item *item) {
    protocol_pack_close(begin(node, item->id, PROTOCOL_CLOSE), item);
    outgoing_end(node, COMMON_SERVER);
}

static void on_timeout(struct node *node, struct node_timer *timer) {
    struct question *question = NODE_TIMER_OWNER(timer, struct question, timer);
    end_question(node, question, question->is_unreachable ? LINK_UNREACHABLE : LINK_TIMED_OUT,
                 (struct slice){NULL, 0});
}

void direct_ask(struct node *node, struct slice machine, enum question_kind kind, struct slice body,
                uint64_t timeout_ms, direct_answer_fn *on_answer, void *context) {
    struct direct *direct = node->direct;
    struct question *question = mem_zalloc(sizeof *question);
    question->number = ++direct->numbers;
    question->on_answer = on_answer;
    question->context = context;
    question->entry.key = (struct slice){(const char *)&question->number, sizeof question->number};
    table_add(&direct->questions, &question->entry);
    question->is_unreachable =
        !node->servers[COMMON_SERVER].is_up || machine.len != CONN_ID_NODE_LEN;
    node_set_timer(node, &question->timer,
                   node->now_ms + (question->is_unreachable ? 0 : timeout_ms), on_timeout);
    if (question->is_unreachable)
        return;
    memcpy(question->machine, machine.bytes, CONN_ID_NODE_LEN);
    const struct protocol_question packed = {question->number, (uint64_t)kind, body};
    protocol_pack_question(begin(node, question->machine, PROTOCOL_ASK), &packed);
    outgoing_end(node, COMMON_SERVER);
}

void direct_answer(struct node *node, const struct direct_asker *asker, enum link_status status,
                   struct slice body) {
    const struct protocol_answer packed = {asker->number, status, body};
    protocol_pack_answer(begin(node, asker->machine, PROTOCOL_ANSWER), &packed);
    outgoing_end(node, COMMON_SERVER);
}

/* ---- in ---- */

static bool take_send(struct node *node, struct slice body) {
    char id[CONN_ID_LEN + 1];
    struct encodings encodings;
    if (!protocol_unpack_send(body, &node->bus.paths, id, &encodings))
        return false;
    if (!session_out_pass_on(node, id, PROTOCOL_SEND, body))
        node->bus.send(node->bus.user, id, encodings.list, encodings.count);
    encodings_release(&encodings);
    return true;
}

static bool take_close(struct node *node, struct slice body) {
    char id[CONN_ID_LEN + 1];
    unsigned code;
    struct slice reason;
    if (!protocol_unpack_close(body, id, &code, &reason))
        return false;
    if (!session_out_pass_on(node, id, PROTOCOL_CLOSE, body))
        node->bus.close(node->bus.user, id, code, reason);
    return true;
}

static bool take_question(struct node *node, struct slice sender, struct slice body) {
    struct protocol_question question;
    struct direct_asker asker = {.machine = ""};
    if (!protocol_unpack_question(body, &question))
        return false;
    memcpy(asker.machine, sender.bytes, CONN_ID_NODE_LEN);
    asker.number = question.number;
    if (question.kind == QUESTION_SESSION)
        cluster_sessions_asked(node, &asker, question.body);
    else if (question.kind == QUESTION_MISSED)
        missed_asked(node, &asker, question.body);
    else
        direct_answer(node, &asker, LINK_REFUSED, slice_of("unknown kind of question"));
    return true;
}

static bool take_answer(struct node *node, struct slice sender, struct slice body) {
    struct protocol_answer answer;
    if (!protocol_unpack_answer(body, &answer))
        return false;
    struct slice key = {(const char *)&answer.number, sizeof answer.number};
    struct table_entry *entry = table_find(&node->direct->questions, key);
    if (entry == NULL) /* too late */
        return true;
    struct question *question = TABLE_OWNER(entry, struct question, entry);
    if (memcmp(question->machine, sender.bytes, CONN_ID_NODE_LEN) == 0)
        end_question(node, question, answer.status, answer.body);
    return true;
}

struct senders *direct_senders(struct node *node) {
    return &node->direct->senders;
}

void direct_message(struct node *node, const struct protocol_head *head, struct slice body) {
    if (!peers_accept(node, LANE_DIRECT, head, &node->direct->senders))
        return;
    bool is_sound = head->kind == PROTOCOL_SEND     ? take_send(node, body)
                    : head->kind == PROTOCOL_CLOSE  ? take_close(node, body)
                    : head->kind == PROTOCOL_ASK    ? take_question(node, head->sender, body)
                    : head->kind == PROTOCOL_ANSWER ? take_answer(node, head->sender, body)
                                                    : false;
    if (is_sound)
        node->figures.received++;
    else
        node->figures.damaged++;
}
