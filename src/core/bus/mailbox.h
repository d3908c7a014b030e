/* mailbox.h -- mail from other workers to one worker, oldest first, up to a limit in bytes.
 *
 * A message that does not fit is lost, and a LOST mail names its receivers: the worker handles them
 * as slow clients when it takes its mail. There is one such mail for each room or connection,
 * however many messages are lost, so their number is bounded. One thread at a time: the bus
 * locks. */
#ifndef TIDEWIRE_CORE_BUS_MAILBOX_H
#define TIDEWIRE_CORE_BUS_MAILBOX_H

#include "base/conn_id.h"
#include "base/table.h"
#include "core/bus/presence.h"
#include "core/frames/message.h"

enum mail_kind {
    MAIL_PUBLISH,
    MAIL_SEND,
    MAIL_CLOSE,
    MAIL_PRESENCE_CHANGED,
    MAIL_ANSWER,
    MAIL_SESSION,
    MAIL_LOST_PUBLISH,
    MAIL_LOST_SEND
};

struct mail {
    struct mail *next;
    enum mail_kind kind;
    uint32_t lost;           /* LOST: the number of messages */
    struct message *message; /* PUBLISH, SEND: a reference of its own */
    /* PUBLISH: the connection to skip, or 0; SEND, LOST_SEND, CLOSE, SESSION: the receiver;
     * PRESENCE_CHANGED: the member */
    conn_id id;
    uint32_t endpoint, codec; /* PUBLISH, LOST_PUBLISH: of the receivers */
    unsigned code;            /* CLOSE; ANSWER: enum link_status; SESSION: a step */
    uint64_t epoch;           /* PUBLISH: of the offset, if a server has given it; else 0 */
    uint64_t offset; /* PUBLISH: in the room's memory; 0: the room has none; ANSWER: the number of
                        the request */
    enum presence_change change; /* PRESENCE_CHANGED */
    /* PUBLISH, LOST_PUBLISH: no bytes: all connections; PRESENCE_CHANGED; CLOSE: the reason;
     * ANSWER: its body */
    struct slice room;
    const char *name, *info; /* PRESENCE_CHANGED: as of room_entry_name(), room_entry_info() */
    struct slice user;       /* PRESENCE_CHANGED: no bytes: none */
    const char *remote_id;   /* PRESENCE_CHANGED: as of struct presence */
    char texts[];
};

/* Copies the room (no bytes: none). All other fields are zero. */
struct mail *mail_new(enum mail_kind kind, struct slice room);
/* A PRESENCE_CHANGED, which copies all texts. */
struct mail *mail_new_presence(const struct presence *presence);
/* Sets the message, with a reference of its own. While mail for any worker holds it, its memory
 * counts in the limits of their mailboxes, and not as memory of queues (message_hold()). */
void mail_set_message(struct mail *mail, struct message *message);
void mail_free(struct mail *mail);

/* Bytes of memory of such a mail; a message counts in each mailbox that holds it. */
size_t mail_cost(struct slice room, const struct message *message);

struct mailbox {
    size_t bytes;   /* cost of all mail; readers may look */
    uint32_t count; /* mails; readers may look */
    /* private */
    struct mail *first, **last;
    struct table losses; /* the LOST mails among them */
    struct loss *first_loss;
};

/* An empty one. */
void mailbox_init(struct mailbox *box);

/* An empty mailbox takes a mail of any size, so that one large message can be sent at all. */
static inline bool mailbox_has_room(const struct mailbox *box, size_t cost, size_t max) {
    return box->bytes == 0 || (cost <= max && box->bytes <= max - cost);
}

/* Takes over the mail. True: the mailbox was empty. */
bool mailbox_push(struct mailbox *box, struct mail *mail);

/* Notes the loss of one message; `mail` (LOST_PUBLISH, LOST_SEND) names its receivers. Takes over
 * the mail. True: the mailbox was empty. */
bool mailbox_lose(struct mailbox *box, struct mail *mail);

/* The offset of the oldest message for this room in the room's memory, in this epoch; 0: there is
 * none. */
uint64_t mailbox_first_offset(const struct mailbox *box, struct slice room, uint64_t epoch);

/* Takes all mail, oldest first, or NULL; the caller frees each with mail_free(). */
struct mail *mailbox_take(struct mailbox *box);

#endif
