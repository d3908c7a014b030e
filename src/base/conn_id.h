/* conn_id.h -- the id of a connection: a number within the process, a text outside it.
 *
 * The number is the worker (7 bits), the epoch of the slot (32) and the slot (24). It is cheap to
 * look up, and a process never gives it twice. The text, which scripts and the log show, begins
 * with the node: 55 random bits that the process draws when it starts. So an id of an earlier
 * process, of the other process of an upgrade, or of another machine is never an id of this
 * process, unless the connection has outlived that one: then it keeps its text. Any thread, except
 * for conn_id_draw_node(). */
#ifndef TIDEWIRE_BASE_CONN_ID_H
#define TIDEWIRE_BASE_CONN_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Never 0, and never negative as a signed integer. */
typedef uint64_t conn_id;

/* The text: base32hex (RFC 4648 section 7) in lower case, 5 bits in each character, the highest
 * first: 11 characters for the node, 13 for the number. */
enum { CONN_ID_NODE_LEN = 11, CONN_ID_LEN = 24 };

/* `slot_number` is what slots_add() returns. */
static inline conn_id conn_id_of(unsigned worker, uint64_t slot_number) {
    return (conn_id)worker << 56 | slot_number;
}

static inline unsigned conn_id_worker(conn_id id) {
    return (unsigned)(id >> 56);
}

/* The slot in the worker's table: a small number, which later connections use again. */
static inline uint32_t conn_id_slot(conn_id id) {
    return (uint32_t)(id & 0xffffff);
}

/* Draws the number of the node, which is 0 before. Call it once, before other threads start. Ends
 * the program when the system has no random numbers. */
void conn_id_draw_node(void);

/* From now on this text, of an earlier process, is that of the id: both functions below know it.
 * For a connection that outlives its process, or comes from another machine. Kept until
 * conn_id_forget_text(), or until the process ends. */
void conn_id_keep_text(const char text[CONN_ID_LEN], conn_id id);
void conn_id_forget_text(conn_id id);
/* The connection goes to another machine: its text is not of this process any more, which
 * conn_id_parse() says. The id still has it. */
void conn_id_give_text(conn_id id);

/* Writes the text of an id of this process, and a zero byte. */
void conn_id_format(char text[CONN_ID_LEN + 1], conn_id id);

/* The id of a text. False when the text has another form or another node. True does not mean that
 * the connection exists. */
bool conn_id_parse(const char *text, size_t len, conn_id *id);
/* The same, also after conn_id_give_text(). */
bool conn_id_find(const char *text, size_t len, conn_id *id);

#endif
