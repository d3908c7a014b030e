/* conn_id.h -- the id of a connection: a number within the process, a text outside of it.
 *
 * The number is worker (7 bits), epoch of the slot (32), slot (24): cheap to look up, and never
 * given twice in one process. The text, which scripts and the log show, begins with the node: 55
 * random bits that the process draws when it starts. So an id of an earlier process, of the other
 * process of an upgrade, or of another machine is never an id of this one. Any thread, but for
 * conn_id_draw_node(). */
#ifndef TIDEWIRE_BASE_CONN_ID_H
#define TIDEWIRE_BASE_CONN_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Never 0, and never negative as a signed integer. */
typedef uint64_t conn_id;

/* The text: base32hex (RFC 4648 section 7) in lower case, 5 bits a character, the highest first: 11
 * characters of the node, 13 of the number. */
enum { CONN_ID_NODE_LEN = 11, CONN_ID_LEN = 24 };

/* `slot_number` is what slots_add() returns. */
static inline conn_id conn_id_of(unsigned worker, uint64_t slot_number) {
    return (conn_id)worker << 56 | slot_number;
}

static inline unsigned conn_id_worker(conn_id id) {
    return (unsigned)(id >> 56);
}

/* Its slot in its worker's table: small numbers, used again. */
static inline uint32_t conn_id_slot(conn_id id) {
    return (uint32_t)(id & 0xffffff);
}

/* Draws the node's number. Once, before other threads start; until then it is 0. Ends the program
 * where the system has no random numbers. */
void conn_id_draw_node(void);

/* Writes the text of an id of this process, and a zero byte. */
void conn_id_format(char text[CONN_ID_LEN + 1], conn_id id);

/* The id of a text. False where it has another form or is of another node. True does not say that
 * there is such a connection. */
bool conn_id_parse(const char *text, size_t len, conn_id *id);

#endif
