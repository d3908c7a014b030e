/* bus_sessions.c -- what the link learns of sessions, and asks of them. See bus.h. */
#include "core/bus/bus_parts.h"

#include <string.h>

bool bus_link_reaches(struct bus *bus) {
    if (!bus_has_link(bus))
        return false;
    uv_mutex_lock(&bus->lock);
    bool reaches = bus->link->up & 1; /* machines are reached by the first server */
    uv_mutex_unlock(&bus->lock);
    return reaches;
}

/* Under the lock. */
static void push_news(struct bus *bus, const char *text, enum session_step step, struct slice body,
                      struct wakeups *wakeups) {
    struct link_item *item = link_item_new(LINK_SESSION_NEWS, (struct slice){NULL, 0}, body);
    item->step = step;
    item->posts = bus->posts;
    memcpy(item->id, text, CONN_ID_LEN);
    bus_push_item(bus, item, wakeups);
}

void bus_session_news(struct bus *bus, conn_id id, enum session_step step, struct slice body) {
    struct wakeups wakeups = {0};
    char text[CONN_ID_LEN + 1];
    if (!bus_has_link(bus))
        return;
    conn_id_format(text, id);
    uv_mutex_lock(&bus->lock);
    push_news(bus, text, step, body, &wakeups);
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
}

static struct mail *push_and_take(struct bus *bus, unsigned worker, const char *text,
                                  enum session_step step) {
    struct wakeups wakeups = {0};
    uv_mutex_lock(&bus->lock);
    struct mail *mail = bus_take(bus, worker);
    if (bus->link != NULL)
        push_news(bus, text, step, (struct slice){NULL, 0}, &wakeups);
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
    return mail;
}

struct mail *bus_session_cut(struct bus *bus, unsigned worker, conn_id id) {
    char text[CONN_ID_LEN + 1];
    conn_id_format(text, id);
    return push_and_take(bus, worker, text, SESSION_CUT);
}

struct mail *bus_session_open(struct bus *bus, unsigned worker, struct slice text) {
    return push_and_take(bus, worker, text.bytes, SESSION_OPENED);
}

void bus_link_session(struct bus *bus, const char *id, enum session_step step) {
    struct wakeups wakeups = {0};
    conn_id number;
    if (!conn_id_find(id, strlen(id), &number))
        return;
    struct mail *mail = mail_new(MAIL_SESSION, (struct slice){NULL, 0});
    mail->id = number;
    mail->code = step;
    uv_mutex_lock(&bus->lock);
    bus_post(bus, conn_id_worker(number), mail, &wakeups);
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
}
