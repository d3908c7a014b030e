/* hub_mail.c -- between a hub and the other workers: mail from the bus, and to it.
 *
 * The hub delivers mail in the order in which it took it. A delivery may cause the hub to take more
 * (a script's finalizer may run and broadcast): that goes to the end of the list, and the hub
 * delivers all of it before the finalizer goes on. */
#include "core/hub/hub_close.h"
#include "core/hub/hub_internal.h"

static void deliver(struct hub *hub, struct mail *mail) {
    struct conn *conn;
    switch (mail->kind) {
    case MAIL_PUBLISH: {
        struct encoding encoding = {mail->codec, mail->message};
        struct broadcast broadcast = {mail->room, mail->endpoint, mail->id, &encoding, 1, NULL};
        hub_publish_here(hub, &broadcast);
        break;
    }
    case MAIL_LOST_PUBLISH:
        hub_publish_lost(hub, mail);
        break;
    case MAIL_LOST_SEND:
        conn = hub_find(hub, mail->id);
        if (conn != NULL && conn->state == CONN_OPEN)
            hub_send_lose(hub, conn, mail->lost);
        break;
    case MAIL_SEND:
        hub_send_deliver_own(hub, hub_find(hub, mail->id), message_ref(mail->message));
        break;
    case MAIL_CLOSE:
        conn = hub_find(hub, mail->id);
        if (conn != NULL)
            hub_close_by_script(hub, conn, mail->code, mail->room);
        break;
    case MAIL_ANSWER:
        hub_cluster_answered(hub, mail);
        break;
    case MAIL_SESSION:
        hub_session_take_step(hub, mail->id, (enum session_step)mail->code);
        break;
    case MAIL_PRESENCE_CHANGED:
        hub_rooms_presence_changed(hub, mail);
        break;
    }
}

void hub_mail_deliver(struct hub *hub, struct mail *mail) {
    if (mail == NULL)
        return;
    *hub->mail_end = mail;
    while (*hub->mail_end != NULL)
        hub->mail_end = &(*hub->mail_end)->next;
    while (hub->mail != NULL) {
        struct mail *next = hub->mail;
        hub->mail = next->next;
        if (hub->mail == NULL)
            hub->mail_end = &hub->mail;
        deliver(hub, next);
        mail_free(next);
        if (hub->queue_memory.over)
            hub_queues_make_room(hub, NULL);
    }
}

/* Not inlined: each message asks for mail, and there seldom is any. */
static __attribute__((noinline)) void take_mail(struct hub *hub) {
    hub_mail_deliver(hub, bus_take_mail(hub->options.bus, hub->options.worker));
}

void hub_take_mail(struct hub *hub) {
    if (atomic_load_explicit(hub->has_mail, memory_order_acquire))
        take_mail(hub);
}

/* ---- connections ---- */

void hub_mail_announce(struct hub *hub, struct conn *conn) {
    if (hub_is_alone(hub))
        return;
    conn->announced = true;
    hub_mail_deliver(
        hub, bus_announce(hub->options.bus, hub->options.worker, conn->id, conn->endpoint->number));
}

void hub_mail_withdraw(struct hub *hub, struct conn *conn) {
    if (!conn->announced)
        return;
    conn->announced = false;
    bus_withdraw(hub->options.bus, hub->options.worker, conn->id);
}

static bool is_here(const struct hub *hub, conn_id id) {
    return hub_is_alone(hub) || conn_id_worker(id) == hub->options.worker;
}

bool hub_codec_of(struct hub *hub, conn_id id, uint32_t *codec) {
    if (!is_here(hub, id))
        return bus_codec_of(hub->options.bus, id, codec);
    const struct conn *conn = hub_find(hub, id);
    bool is_open = conn != NULL && conn->state == CONN_OPEN;
    if (is_open)
        *codec = conn->endpoint->codec;
    return is_open;
}

/* Does this endpoint of another worker's connection close slow clients? This worker does not have
 * the endpoint before it has activated the new code. */
static bool closes_slow_clients(struct hub *hub, uint32_t number) {
    const struct endpoint *endpoint = hub_endpoint(hub, number);
    return endpoint != NULL && endpoint->slow_client == SLOW_CLIENT_CLOSE;
}

enum send_result hub_send_anywhere(struct hub *hub, conn_id id, uint32_t codec,
                                   struct message *message) {
    if (is_here(hub, id)) {
        struct conn *conn = hub_find(hub, id);
        enum send_result result = hub_send_deliver_own(hub, conn, message);
        if (!hub->queue_memory.over)
            return result;
        enum send_result own = hub_queues_make_room(hub, conn);
        return result == SEND_OK ? own : result;
    }
    uint32_t endpoint;
    enum bus_result result = bus_send(hub->options.bus, id, codec, message, &endpoint);
    message_unref(message);
    switch (result) {
    case BUS_SENT:
        return SEND_OK;
    case BUS_LOST:
        return closes_slow_clients(hub, endpoint) ? SEND_CLOSED : SEND_BACKLOG;
    default:
        return SEND_CLOSED;
    }
}

bool hub_close_anywhere(struct hub *hub, conn_id id, unsigned code, struct slice reason) {
    hub_take_mail(hub);
    if (!is_here(hub, id))
        return bus_close(hub->options.bus, id, code, reason);
    struct conn *conn = hub_find(hub, id);
    if (conn == NULL || conn->state != CONN_OPEN)
        return false;
    hub_close_by_script(hub, conn, code, reason);
    return true;
}

void hub_total(const struct hub *hub, struct stats_total *total) {
    if (!hub_is_alone(hub)) {
        bus_total(hub->options.bus, total);
        return;
    }
    *total = (struct stats_total){0};
    stats_add_to(total, &hub->stats);
    if (hub->options.bus != NULL)
        bus_memory_add_to(hub->options.bus, total);
}

/* ---- sessions ---- */

bool hub_has_sessions(const struct hub *hub) {
    return hub->options.bus != NULL && sessions_count(bus_sessions(hub->options.bus)) > 0;
}

struct session_place *hub_lend_place(struct hub *hub, struct slice secret) {
    return hub_has_sessions(hub) ? sessions_lend_place(bus_sessions(hub->options.bus), secret)
                                 : NULL;
}

bool hub_session_is_elsewhere(const struct hub *hub, struct slice secret, unsigned *worker) {
    if (!hub_has_sessions(hub))
        return false;
    conn_id id = sessions_find(bus_sessions(hub->options.bus), secret);
    *worker = conn_id_worker(id);
    return id != 0 && *worker != hub->options.worker;
}
