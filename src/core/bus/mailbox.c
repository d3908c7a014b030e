/* mailbox.c -- mail from other workers to one worker. See mailbox.h. */
#include "core/bus/mailbox.h"

#include "base/mem.h"

#include <stddef.h>
#include <string.h>

/* What an allocation costs beyond its bytes. */
enum { ALLOCATION_BYTES = 16 };

static size_t text_size(const char *text) {
    return text == NULL ? 0 : strlen(text) + 1;
}

/* With `more` bytes behind those of the room. */
static struct mail *new_mail(enum mail_kind kind, struct slice room, size_t more) {
    struct mail *mail = mem_zalloc(sizeof *mail + room.len + more);
    mail->kind = kind;
    if (room.bytes != NULL) {
        memcpy(mail->texts, room.bytes, room.len);
        mail->room = (struct slice){mail->texts, room.len};
    }
    return mail;
}

struct mail *mail_new(enum mail_kind kind, struct slice room) {
    return new_mail(kind, room, 0);
}

struct mail *mail_new_presence(const struct presence *presence) {
    size_t name = text_size(presence->endpoint_name), info = text_size(presence->info);
    size_t remote_id = text_size(presence->remote_id);
    struct mail *mail = new_mail(MAIL_PRESENCE_CHANGED, presence->room,
                                 name + info + presence->user.len + remote_id);
    char *at = mail->texts + presence->room.len;
    mail->id = presence->id;
    mail->change = presence->change;
    if (name > 0)
        mail->name = memcpy(at, presence->endpoint_name, name);
    if (info > 0)
        mail->info = memcpy(at + name, presence->info, info);
    if (presence->user.bytes != NULL) {
        at = memcpy(at + name + info, presence->user.bytes, presence->user.len);
        mail->user = (struct slice){at, presence->user.len};
    }
    if (remote_id > 0)
        mail->remote_id =
            memcpy(mail->texts + presence->room.len + name + info + presence->user.len,
                   presence->remote_id, remote_id);
    return mail;
}

void mail_set_message(struct mail *mail, struct message *message) {
    mail->message = message_hold(message);
}

void mail_free(struct mail *mail) {
    if (mail->message != NULL)
        message_release(mail->message);
    mem_free(mail);
}

size_t mail_cost(struct slice room, const struct message *message) {
    size_t cost = sizeof(struct mail) + room.len + ALLOCATION_BYTES;
    if (message != NULL)
        cost += sizeof *message + message->len + message->key_len + ALLOCATION_BYTES;
    return cost;
}

void mailbox_init(struct mailbox *box) {
    *box = (struct mailbox){0};
    box->last = &box->first;
}

bool mailbox_push(struct mailbox *box, struct mail *mail) {
    bool was_empty = box->first == NULL;
    box->bytes += mail_cost(mail->room, mail->message) + text_size(mail->name) +
                  text_size(mail->info) + mail->user.len;
    box->count++;
    *box->last = mail;
    box->last = &mail->next;
    return was_empty;
}

/* ---- losses ---- */

/* A LOST mail in the mailbox, found by its receivers. */
struct loss {
    struct table_entry entry;
    struct loss *next;
    struct mail *mail; /* the mailbox's */
    char key[];
};

/* Its key: every field that names the receivers. */
static struct loss *loss_new(const struct mail *mail) {
    struct {
        conn_id id;
        uint32_t kind, endpoint, codec, has_room; /* no padding: compared as bytes */
    } receivers = {mail->id, mail->kind, mail->endpoint, mail->codec, mail->room.bytes != NULL};
    struct loss *loss = mem_zalloc(sizeof *loss + sizeof receivers + mail->room.len);
    memcpy(loss->key, &receivers, sizeof receivers);
    if (mail->room.len > 0)
        memcpy(loss->key + sizeof receivers, mail->room.bytes, mail->room.len);
    loss->entry.key = (struct slice){loss->key, sizeof receivers + mail->room.len};
    return loss;
}

bool mailbox_lose(struct mailbox *box, struct mail *mail) {
    struct loss *loss = loss_new(mail);
    struct table_entry *known = table_find(&box->losses, loss->entry.key);
    if (known != NULL) {
        TABLE_OWNER(known, struct loss, entry)->mail->lost++;
        mem_free(loss);
        mail_free(mail);
        return false;
    }
    mail->lost = 1;
    loss->mail = mail;
    loss->next = box->first_loss;
    box->first_loss = loss;
    table_add(&box->losses, &loss->entry);
    return mailbox_push(box, mail);
}

uint64_t mailbox_first_offset(const struct mailbox *box, struct slice room, uint64_t epoch) {
    for (const struct mail *mail = box->first; mail != NULL; mail = mail->next)
        if (mail->kind == MAIL_PUBLISH && mail->offset != 0 && mail->room.len == room.len &&
            (mail->epoch == 0 || mail->epoch == epoch) &&
            memcmp(mail->room.bytes, room.bytes, room.len) == 0)
            return mail->offset;
    return 0;
}

struct mail *mailbox_take(struct mailbox *box) {
    struct mail *first = box->first;
    for (struct loss *loss; (loss = box->first_loss) != NULL;) {
        box->first_loss = loss->next;
        mem_free(loss);
    }
    table_close(&box->losses);
    mailbox_init(box);
    return first;
}
