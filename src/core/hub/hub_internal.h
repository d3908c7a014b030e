/* hub_internal.h -- what the hub's files share and no other file includes. */
#ifndef TIDEWIRE_CORE_HUB_HUB_INTERNAL_H
#define TIDEWIRE_CORE_HUB_HUB_INTERNAL_H

#include "base/slots.h"
#include "core/hub/conn.h"
#include "core/hub/hub.h"

struct hub {
    struct stats stats;
    const struct hub_events *events;
    void *events_user;
    const struct wire *wire;
    struct hub_options options;
    struct slots conns;
    struct table rooms, watched;
    struct mail *mail, **mail_end; /* taken from the bus, not delivered yet */
    struct endpoint **endpoints;
    uint32_t endpoint_count;
    struct deadlines timers;
    struct list pending, dirty;
    struct list unhandled; /* connections with messages that no hook has handled, oldest first */
    size_t unhandled_bytes, unhandled_max, unhandled_wanted;
    unsigned char *scratch;
    struct ref_cache ref_cache;
    struct outq_bundle bundle;
    bool draining;
    bool reload_under_way; /* on_reload is owed to connections from `reload_next` on */
    uint32_t reload_next;
    struct hub_drain *farewell; /* under way; or NULL */
};

/* hub.c: the connection of an id, or NULL when it is closed or never was. A closing one is found:
 * its state says so. */
struct conn *hub_find(struct hub *hub, conn_id id);

static inline uint64_t hub_now(const struct hub *hub) {
    return hub->options.now_ms(hub->options.clock);
}

/* hub.c: something is due for this connection; its turn comes at the end of the loop's turn. */
void hub_schedule(struct hub *hub, struct conn *conn);
/* hub.c: runs the hooks that wait, until one sleeps; frees a connection that is over. */
void hub_step(struct hub *hub, struct conn *conn);
/* hub.c: stops reading from the client's socket, or reads on. */
void hub_set_paused(struct hub *hub, struct conn *conn, bool paused);

/* hub_rooms.c: out of all rooms. */
void hub_rooms_leave_all(struct hub *hub, struct conn *conn);
void hub_rooms_forget_watches(struct hub *hub);

/* hub_mail.c: is this the only worker? Then nobody else is told anything, and no mail comes. */
static inline bool hub_is_alone(const struct hub *hub) {
    return hub->options.bus == NULL || bus_workers(hub->options.bus) == 1;
}
/* hub_mail.c: other workers learn that a connection is there, or is no more. */
void hub_mail_announce(struct hub *hub, struct conn *conn);
void hub_mail_withdraw(struct hub *hub, struct conn *conn);
/* hub_mail.c: delivers a list that the bus answered, after what was taken before. */
void hub_mail_deliver(struct hub *hub, struct mail *mail);

/* hub_rooms.c: to connections of this worker, each by its codec; the messages stay the caller's.
 * Returns how many got one. */
uint32_t hub_rooms_publish(struct hub *hub, const struct broadcast *broadcast);
/* hub_rooms.c: what was published on another worker and did not fit into this one's mailbox. */
void hub_rooms_lost(struct hub *hub, const struct mail *mail);
/* hub_rooms.c: somebody joined or left on another worker. */
void hub_rooms_presence_changed(struct hub *hub, const struct mail *mail);

/* hub_limits.c: its inbox has changed. */
void hub_limits_count(struct hub *hub, struct conn *conn);
/* Endpoints have changed, and with them the largest message. */
void hub_limits_fit(struct hub *hub);
/* Is there so much of all connections that who sends to a sleeping hook is not read on? */
bool hub_limits_is_much(const struct hub *hub);
/* It is read again: the time of the message that has begun begins anew. */
void hub_limits_resume(struct hub *hub, struct conn *conn);
/* That time is over. */
void hub_limits_due(struct hub *hub, struct conn *conn);
/* Its socket is gone, and what net/ has kept. */
void hub_limits_gone(struct hub *hub, struct conn *conn);

/* hub_reload.c: on_reload for some of those it is owed to. */
void hub_reload_some(struct hub *hub);

/* hub_send.c */
enum {
    HUB_SEND_SCRATCH_BYTES = 128 * 1024
}; /* most that leaves in one write, but for a larger message */
void hub_send_mark(struct hub *hub, struct conn *conn);
void hub_send_flush_all(struct hub *hub);
/* Writes as much as the socket takes. */
void hub_send_flush(struct hub *hub, struct conn *conn);
void hub_send_push(struct hub *hub, struct conn *conn, struct message *message);
/* So many messages for an open connection were lost on their way from another worker: it is a slow
 * client. */
enum send_result hub_send_lose(struct hub *hub, struct conn *conn, uint32_t count);
/* Does one of our pings wait for a client that is behind? Then another one is not queued. */
bool hub_send_ping_waits(const struct conn *conn);
/* Queues one: a PING frame or a text. */
void hub_send_ping(struct hub *hub, struct conn *conn, enum opcode opcode, const void *payload,
                   size_t len);
/* When the queue was cleared. */
void hub_send_forget_pings(struct conn *conn);
/* Queues a message that others hold as well, with a reference of its own, if there is room. */
enum send_result hub_send_deliver(struct hub *hub, struct conn *conn, struct message *message);
/* The same for a connection that may be gone (NULL) and may conflate; takes over the caller's
 * reference. */
enum send_result hub_send_deliver_own(struct hub *hub, struct conn *conn, struct message *message);

/* hub_drain.c: when somebody is to be told next, in milliseconds; UINT64_MAX: nobody is. */
uint64_t hub_drain_due_ms(const struct hub *hub);
void hub_drain_run(struct hub *hub, uint64_t now);

/* hub_timers.c */
/* Enters the nearest deadline, when one of its times has changed. */
void hub_timers_arm(struct hub *hub, struct conn *conn);
void hub_timers_start(struct hub *hub, struct conn *conn);
void hub_timers_stop(struct hub *hub, struct conn *conn);
void hub_timers_kill_in(struct hub *hub, struct conn *conn, uint64_t ms);
void hub_timers_reset_silence(struct hub *hub, struct conn *conn);
/* The periods of its endpoint have changed: times that are sooner now are moved forward. */
void hub_timers_reload(struct hub *hub, struct conn *conn, uint64_t old_ping_ms);
void hub_timers_send_ping(struct hub *hub, struct conn *conn);
/* A silence that was noticed before: does it still last? Then its time starts anew. */
bool hub_timers_confirm_silence(struct hub *hub, struct conn *conn);

#endif
