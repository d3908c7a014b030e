/* conn_id.c -- the text of a connection's id. See conn_id.h. */
#include "base/conn_id.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { BITS = 5 }; /* of a character */

/* As text, because no other form is used. */
static char node_[CONN_ID_NODE_LEN + 1] = "00000000000";

/* Writes the lowest bits of the number as `len` characters. */
static void format(char *text, int len, uint64_t number) {
    for (; len-- > 0; number >>= BITS)
        text[len] = "0123456789abcdefghijklmnopqrstuv"[number & 31];
}

void conn_id_draw_node(void) {
    uint64_t node;
    if (getrandom(&node, sizeof node, 0) != (ssize_t)sizeof node) {
        perror("tidewire: no random numbers for the ids of connections");
        abort();
    }
    format(node_, CONN_ID_NODE_LEN, node);
}

void conn_id_format(char text[CONN_ID_LEN + 1], conn_id id) {
    memcpy(text, node_, CONN_ID_NODE_LEN);
    format(text + CONN_ID_NODE_LEN, CONN_ID_LEN - CONN_ID_NODE_LEN, id);
    text[CONN_ID_LEN] = '\0';
}

bool conn_id_parse(const char *text, size_t len, conn_id *id) {
    if (len != CONN_ID_LEN || memcmp(text, node_, CONN_ID_NODE_LEN) != 0)
        return false;
    text += CONN_ID_NODE_LEN;
    if (*text > '7') /* an id has 63 bits */
        return false;
    conn_id number = 0;
    for (int i = 0; i < CONN_ID_LEN - CONN_ID_NODE_LEN; i++) {
        if (text[i] >= '0' && text[i] <= '9')
            number = number << BITS | (conn_id)(text[i] - '0');
        else if (text[i] >= 'a' && text[i] <= 'v')
            number = number << BITS | (conn_id)(text[i] - 'a' + 10);
        else
            return false;
    }
    *id = number;
    return true;
}
