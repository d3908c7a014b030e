/* mailbox.h -- what waits for one worker from the others, oldest first, up to a ceiling in bytes.
 *
 * What does not fit is lost, and noted: who would have got it is dealt with as a slow client when
 * the worker takes its mail. A note is made once for each room or connection, however much is lost
 * for it: notes are bounded by what there is. No lock of its own: the owner, the bus, lets one
 * thread in at a time. */
#ifndef TIDEWIRE_CORE_BUS_MAILBOX_H
#define TIDEWIRE_CORE_BUS_MAILBOX_H

#include "base/conn_id.h"
#include "base/table.h"
#include "core/frames/message.h"

enum mail_kind {
    MAIL_PUBLISH,
    MAIL_SEND,
    MAIL_CLOSE,
    MAIL_PRESENCE_CHANGED,
    MAIL_LOST_PUBLISH,
    MAIL_LOST_SEND
};

struct mail {
    struct mail *next;
    enum mail_kind kind;
    uint32_t lost;            /* LOST: how many messages */
    struct message *message;  /* PUBLISH, SEND: a reference of its own */
    conn_id id;               /* PUBLISH: whom not; SEND, LOST_SEND: to whom; CLOSE, MOVED: who */
    uint32_t endpoint, codec; /* PUBLISH, LOST_PUBLISH: of whom it is for */
    unsigned code;            /* CLOSE */
    bool joined;              /* MOVED */
    struct slice room;        /* PUBLISH, LOST_PUBLISH (no bytes: everyone), MOVED; CLOSE: why */
    const char *name, *info;  /* MOVED: as of room_entry_name(), room_entry_info() */
    char texts[];
};

/* Copies room, name and info; no bytes or NULL: there is none. The rest is zeros. */
struct mail *mail_new(enum mail_kind kind, struct slice room, const char *name, const char *info);
void mail_free(struct mail *mail);

/* What a mail of this kind takes in memory; the message counts in each mailbox that it waits in. */
size_t mail_cost(struct slice room, const char *name, const char *info,
                 const struct message *message);

struct mailbox {
    size_t bytes;   /* what waits takes; readers may look */
    uint32_t count; /* mails; readers may look */
    /* private */
    struct mail *first, **last;
    struct table losses; /* the notes among them */
    struct loss *first_loss;
};

/* An empty one. */
void mailbox_init(struct mailbox *box);

/* An empty one takes a mail of any size, so that a single large message can be sent at all. */
static inline bool mailbox_has_room(const struct mailbox *box, size_t cost, size_t max) {
    return box->bytes == 0 || (cost <= max && box->bytes <= max - cost);
}

/* Takes over the mail. Returns whether the box was empty. */
bool mailbox_push(struct mailbox *box, struct mail *mail);

/* Notes that what `mail` (LOST_PUBLISH, LOST_SEND) stands for was lost. Takes over the mail.
 * Returns whether the box was empty. */
bool mailbox_lose(struct mailbox *box, struct mail *mail);

/* Everything in it, oldest first, or NULL; each is freed with mail_free(). */
struct mail *mailbox_take(struct mailbox *box);

#endif
