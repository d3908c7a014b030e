/* hub_drain.c -- how everyone is told to go: at once, or spread over a time. See hub.h.
 *
 * Clients that are all told at one moment all come back at one moment. So the k-th of n connections
 * is told when k n-ths of the time are over; a whole batch where turns of the loop are rarer than
 * that. Who leaves meanwhile brings the others' moments nearer, never beyond the end, and the end
 * tells everyone who is left: also who finished a handshake behind the place where the walk was. */
#include "core/hub/hub_close.h"
#include "core/hub/hub_internal.h"

#include "base/mem.h"

#include <string.h>

struct hub_drain {
    unsigned code;
    const char *reason;
    uint64_t start_ms, ms;
    uint32_t count, told; /* connections at the start; of them walked over so far */
    uint32_t at;          /* in the hub's slots */
};

static void tell(struct hub *hub, struct conn *conn, unsigned code, const char *reason) {
    hub_close_begin(hub, conn, code, reason, strlen(reason), false);
}

void hub_drain(struct hub *hub, unsigned code, const char *reason) {
    hub_take_mail(hub);
    hub->draining = true;
    mem_free(hub->farewell);
    hub->farewell = NULL;
    uint32_t at = 0;
    for (struct conn *conn; (conn = slots_next(&hub->conns, &at)) != NULL;)
        tell(hub, conn, code, reason);
}

void hub_drain_over(struct hub *hub, unsigned code, const char *reason, uint64_t ms) {
    if (ms == 0 || hub->farewell != NULL) {
        hub_drain(hub, code, reason);
        return;
    }
    hub->draining = true;
    hub->farewell = mem_zalloc(sizeof *hub->farewell);
    *hub->farewell = (struct hub_drain){.code = code,
                                        .reason = reason,
                                        .start_ms = hub_now(hub),
                                        .ms = ms,
                                        .count = slots_count(&hub->conns)};
}

/* When the k-th (from 1) is told. */
static uint64_t moment(const struct hub_drain *farewell, uint64_t k) {
    return farewell->start_ms + (farewell->ms * k + farewell->count - 1) / farewell->count;
}

uint64_t hub_drain_due_ms(const struct hub *hub) {
    const struct hub_drain *farewell = hub->farewell;
    if (farewell == NULL)
        return UINT64_MAX;
    if (farewell->told >= farewell->count)
        return farewell->start_ms + farewell->ms;
    return moment(farewell, (uint64_t)farewell->told + 1);
}

void hub_drain_run(struct hub *hub, uint64_t now) {
    struct hub_drain *farewell = hub->farewell;
    if (farewell == NULL || now < hub_drain_due_ms(hub))
        return;
    hub_take_mail(hub);
    if (now >= farewell->start_ms + farewell->ms) {
        hub_drain(hub, farewell->code, farewell->reason);
        return;
    }
    while (farewell->told < farewell->count &&
           moment(farewell, (uint64_t)farewell->told + 1) <= now) {
        struct conn *conn = slots_next(&hub->conns, &farewell->at);
        if (conn == NULL) { /* some have left: the end looks once more */
            farewell->told = farewell->count;
            return;
        }
        farewell->told++;
        tell(hub, conn, farewell->code, farewell->reason);
    }
}
