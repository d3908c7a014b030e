/* notify.c -- telling systemd what the server is at. See notify.h.
 *
 * The timer ticks four times in the watchdog's period, or every few seconds for the line of
 * status. A worker that owes a sign of life for half the period is silent, and then so are we:
 * one tick is never enough to call it that. */
#include "server/notify.h"

#include "base/clock.h"
#include "base/log/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATUS_MS = 5000 };

/* ---- the socket ---- */

static void complain(struct notify *notify, const char *why) {
    if (!notify->complained)
        log_eventf(LOG_WARN, "notify_failed", "NOTIFY_SOCKET: %s", why);
    notify->complained = true;
}

/* "/path", or "@name" for one that has no file. */
static bool read_address(struct notify *notify, const char *text) {
    size_t len = strlen(text);
    if ((text[0] != '/' && text[0] != '@') || len < 2 || len >= sizeof notify->to.sun_path)
        return false;
    notify->to = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(notify->to.sun_path, text, len);
    notify->to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (text[0] == '@')
        notify->to.sun_path[0] = '\0';
    return true;
}

static void open_socket(struct notify *notify) {
    const char *where = getenv("NOTIFY_SOCKET");
    if (where == NULL || *where == '\0')
        return;
    if (!read_address(notify, where)) {
        complain(notify, "expected /path or @name");
        return;
    }
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (notify->fd < 0)
        complain(notify, strerror(errno));
}

/* False: it did not go out, and may later. */
static bool tell(struct notify *notify, const char *text) {
    ssize_t sent = sendto(notify->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT,
                          (const struct sockaddr *)&notify->to, notify->to_len);
    if (sent >= 0)
        return true;
    if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR)
        return false;
    complain(notify, strerror(errno));
    return true;
}

/* ---- what is told ---- */

/* The line of status, anew. */
static const char *status(struct notify *notify) {
    struct stats_total total;
    bus_total(notify->process->bus, &total);
    snprintf(notify->said, sizeof notify->said, "STATUS=%s; %" PRIu64 " connection%s",
             notify->doing, total.connections, total.connections == 1 ? "" : "s");
    return notify->said;
}

/* A state must arrive: what the socket does not take now is told at a later tick. */
static void tell_state(struct notify *notify, const char *doing, const char *state) {
    if (notify->fd < 0)
        return;
    notify->doing = doing;
    snprintf(notify->unsent, sizeof notify->unsent, "%s\n%s", state, status(notify));
    if (tell(notify, notify->unsent))
        notify->unsent[0] = '\0';
}

static void tell_status(struct notify *notify) {
    char before[sizeof notify->said];
    strcpy(before, notify->said);
    if (strcmp(status(notify), before) != 0)
        tell(notify, notify->said);
}

static bool workers_answer(struct notify *notify) {
    unsigned worker;
    return workers_ping(notify->workers, &worker) * 1e6 < (double)notify->watchdog_us / 2;
}

static void on_tick(uv_timer_t *timer) {
    struct notify *notify = timer->data;
    if (notify->unsent[0] != '\0' && tell(notify, notify->unsent))
        notify->unsent[0] = '\0';
    tell_status(notify);
    if (notify->watchdog_us > 0 && workers_answer(notify))
        tell(notify, "WATCHDOG=1");
}

static void start_ticks(struct notify *notify) {
    uint64_t ms = STATUS_MS, quarter = notify->watchdog_us / 4000;
    if (uv_is_active((uv_handle_t *)&notify->timer) || notify->fd < 0)
        return;
    if (notify->watchdog_us > 0 && quarter < ms)
        ms = quarter > 0 ? quarter : 1;
    uv_timer_start(&notify->timer, on_tick, ms, ms);
}

/* ---- life ---- */

/* A whole number of digits only; 0: it is none, or too large for anything here. */
static uint64_t number_of(const char *text) {
    size_t digits = strspn(text, "0123456789");
    return text[digits] == '\0' && digits <= 18 ? strtoull(text, NULL, 10) : 0;
}

/* The watchdog's period, if it is meant for this process. */
static uint64_t read_watchdog(void) {
    const char *period = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (period == NULL || (pid != NULL && number_of(pid) != (uint64_t)getpid()))
        return 0;
    return number_of(period);
}

void notify_init(struct notify *notify, uv_loop_t *loop, struct process *process,
                 struct workers *workers) {
    *notify =
        (struct notify){.fd = -1, .process = process, .workers = workers, .doing = "starting"};
    uv_timer_init(loop, &notify->timer);
    notify->timer.data = notify;
    open_socket(notify);
    notify->watchdog_us = notify->fd < 0 ? 0 : read_watchdog();
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void notify_close(struct notify *notify) {
    uv_close((uv_handle_t *)&notify->timer, NULL);
    if (notify->fd >= 0)
        close(notify->fd);
    notify->fd = -1;
}

void notify_ready(struct notify *notify) {
    char state[64];
    snprintf(state, sizeof state, "READY=1\nMAINPID=%ld", (long)getpid());
    tell_state(notify, "serving", state);
    start_ticks(notify);
}

void notify_reloading(struct notify *notify) {
    char state[64];
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
             clock_monotonic_ns() / 1000);
    tell_state(notify, "loading new code", state);
}

void notify_stopping(struct notify *notify) {
    tell_state(notify, "draining", "STOPPING=1");
}

void notify_upgraded(struct notify *notify, pid_t to) {
    char state[64];
    snprintf(state, sizeof state, "MAINPID=%ld", (long)to);
    tell_state(notify, "handed over", state);
    uv_timer_stop(&notify->timer); /* the other one's affair from now on */
}
