/* parts_to_come.c -- parts of a node that do nothing yet. The file of a part takes its functions
 * out of here. */
#include "cluster/node/node_parts.h"

/* history.c */
struct history *history_new(struct node *node) {
    (void)node;
    return NULL;
}
void history_free(struct history *history) {
    (void)history;
}
void history_publish(struct node *node, const struct link_item *item) {
    (void)node, (void)item;
}
void history_begin(struct cluster_room *room) {
    rooms_part_done(room);
}
void history_end(struct cluster_room *room) {
    (void)room;
}
void history_message(struct cluster_room *room, const struct protocol_head *head,
                     struct slice body) {
    (void)room, (void)head, (void)body;
}
void history_up(struct node *node, unsigned server) {
    (void)node, (void)server;
}
void history_down(struct node *node, unsigned server) {
    (void)node, (void)server;
}
void history_turn(struct node *node) {
    (void)node;
}
