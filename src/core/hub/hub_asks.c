/* hub_asks.c -- answers of clients to requests of scripts (conn:ask).
 *
 * A hook that asks sleeps, and messages wait for a hook that sleeps. So answers are taken out of
 * the messages before these wait. Only a connection that is asked is looked at, and only where its
 * message would wait; otherwise the codec finds the answer (codecs.lua). A client that comes back
 * to its session answers after on_resume, which waits for a hook that sleeps: so requests end
 * then. */
#include "core/hub/hub_internal.h"

#include <string.h>

void hub_set_asked(struct hub *hub, conn_id id, bool asked) {
    struct conn *conn = hub_find(hub, id);
    if (conn == NULL || conn->state != CONN_OPEN || conn->is_asked == asked)
        return;
    conn->is_asked = asked;
    if (asked && conn->busy && conn->session != NULL && conn->session->candidate != NULL)
        hub_asks_over(hub, conn, true);
    if (conn->inbox != NULL) /* its limit is another one now */
        hub_set_paused(hub, conn, hub_asks_inbox_full(conn) || hub_limits_is_much(hub));
}

bool hub_asks_inbox_full(const struct conn *conn) {
    return conn->is_asked ? inbox_full_for_answers(conn->inbox) : inbox_full(conn->inbox);
}

bool hub_asks_take(struct hub *hub, struct conn *conn, const char *bytes, size_t len, bool binary) {
    static const char name[] = "\"answer\"";
    if (!conn->is_asked || binary || memmem(bytes, len, name, sizeof name - 1) == NULL ||
        !hub->events->answered(hub->events_user, conn, bytes, len))
        return false;
    hub_session_keep_place(hub, conn);
    return true;
}

void hub_asks_over(struct hub *hub, struct conn *conn, bool lost) {
    if (!conn->is_asked)
        return;
    conn->is_asked = false;
    hub->events->unanswered(hub->events_user, conn->id, lost);
}
