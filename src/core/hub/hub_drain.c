/* hub_drain.c -- the server shuts down: closes all connections at once, or spread over a time. See
 * hub.h.
 *
 * Clients that are closed at one moment all reconnect at one moment. So a drain closes the k-th of
 * n connections after k n-ths of its time; several together if the loop turns less often.
 * Connections that close by themselves bring the others' moments nearer, never beyond the end. The
 * end closes all that are left, those that finished a handshake behind the walk among them. */
#include "core/hub/hub_close.h"
#include "core/hub/hub_internal.h"

#include "base/mem.h"

struct hub_drain {
    unsigned code;
    const char *reason;
    uint64_t start_ms, ms;
    uint32_t count, done; /* connections at the start; of them walked over so far */
    uint32_t at;          /* in the hub's slots */
};

void hub_drain(struct hub *hub, unsigned code, const char *reason) {
    hub_take_mail(hub);
    hub->draining = true;
    mem_free(hub->drain);
    hub->drain = NULL;
    uint32_t at = 0;
    for (struct conn *conn; (conn = slots_next(&hub->conns, &at)) != NULL;)
        if (!hub_session_keep(hub, conn))
            hub_close_begin(hub, conn, code, slice_of(reason), false);
}

void hub_drain_over(struct hub *hub, unsigned code, const char *reason, uint64_t ms) {
    if (ms == 0 || hub->drain != NULL) {
        hub_drain(hub, code, reason);
        return;
    }
    hub->draining = true;
    hub->drain = mem_alloc(sizeof *hub->drain);
    *hub->drain = (struct hub_drain){.code = code,
                                     .reason = reason,
                                     .start_ms = hub_now(hub),
                                     .ms = ms,
                                     .count = slots_count(&hub->conns)};
}

/* When the next connection is to be closed: the k-th (from 1), or the end. */
static uint64_t next_ms(const struct hub_drain *drain) {
    if (drain->done >= drain->count)
        return drain->start_ms + drain->ms;
    uint64_t k = (uint64_t)drain->done + 1;
    return drain->start_ms + (drain->ms * k + drain->count - 1) / drain->count;
}

uint64_t hub_drain_due_ms(const struct hub *hub) {
    return hub->drain == NULL ? UINT64_MAX : next_ms(hub->drain);
}

void hub_drain_run(struct hub *hub, uint64_t now) {
    struct hub_drain *drain = hub->drain;
    if (drain == NULL || now < next_ms(drain))
        return;
    hub_take_mail(hub);
    if (now >= drain->start_ms + drain->ms) {
        hub_drain(hub, drain->code, drain->reason);
        return;
    }
    while (next_ms(drain) <= now) {
        struct conn *conn = slots_next(&hub->conns, &drain->at);
        if (conn == NULL) { /* some have closed meanwhile: only the end is left */
            drain->done = drain->count;
            return;
        }
        drain->done++;
        if (!hub_session_keep(hub, conn))
            hub_close_begin(hub, conn, drain->code, slice_of(drain->reason), false);
    }
}
