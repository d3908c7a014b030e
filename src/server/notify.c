/* notify.c -- sends the server's state to systemd. See notify.h.
 *
 * The timer ticks four times in the watchdog's period, or every few seconds for the status line.
 * While a worker has not answered a ping for half the period, no keep-alive is sent: that is more
 * than one tick. */
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

static void warn(struct notify *notify, const char *why) {
    if (!notify->warned)
        log_eventf(LOG_WARN, "notify_failed", "NOTIFY_SOCKET: %s", why);
    notify->warned = true;
}

/* "/path", or "@name" for an abstract socket. */
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
        warn(notify, "expected /path or @name");
        return;
    }
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (notify->fd < 0)
        warn(notify, strerror(errno));
}

/* False: the socket does not take it now. */
static bool send_text(struct notify *notify, const char *text) {
    ssize_t sent = sendto(notify->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT,
                          (const struct sockaddr *)&notify->to, notify->to_len);
    if (sent >= 0)
        return true;
    if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR)
        return false;
    warn(notify, strerror(errno));
    return true;
}

/* ---- messages ---- */

/* Renews the status line. */
static const char *renew_status(struct notify *notify) {
    struct stats_total total;
    bus_total(notify->process->bus, &total);
    snprintf(notify->status, sizeof notify->status, "STATUS=%s; %" PRIu64 " connection%s",
             notify->doing, total.connections, total.connections == 1 ? "" : "s");
    return notify->status;
}

/* Sends a state, which must arrive: at a later tick if the socket does not take it now. */
static void send_state(struct notify *notify, const char *doing, const char *state) {
    if (notify->fd < 0)
        return;
    notify->doing = doing;
    snprintf(notify->unsent, sizeof notify->unsent, "%s\n%s", state, renew_status(notify));
    if (send_text(notify, notify->unsent))
        notify->unsent[0] = '\0';
}

static void send_status(struct notify *notify) {
    char before[sizeof notify->status];
    strcpy(before, notify->status);
    if (strcmp(renew_status(notify), before) != 0)
        send_text(notify, notify->status);
}

static bool workers_respond(struct notify *notify) {
    unsigned worker;
    return workers_ping(notify->workers, &worker) * 1e6 < (double)notify->watchdog_us / 2;
}

static void on_tick(uv_timer_t *timer) {
    struct notify *notify = timer->data;
    if (notify->unsent[0] != '\0' && send_text(notify, notify->unsent))
        notify->unsent[0] = '\0';
    send_status(notify);
    if (notify->watchdog_us > 0 && workers_respond(notify))
        send_text(notify, "WATCHDOG=1");
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

/* A whole number of digits only; 0 for any other text, and for more than 18 digits. */
static uint64_t number_of(const char *text) {
    size_t digits = strspn(text, "0123456789");
    return text[digits] == '\0' && digits <= 18 ? strtoull(text, NULL, 10) : 0;
}

/* The watchdog's period in microseconds; 0: none, or it is for another process. */
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
    send_state(notify, "serving", state);
    start_ticks(notify);
}

void notify_reloading(struct notify *notify) {
    char state[64];
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
             clock_monotonic_ns() / 1000);
    send_state(notify, "loading new code", state);
}

void notify_stopping(struct notify *notify) {
    send_state(notify, "draining", "STOPPING=1");
}

void notify_upgraded(struct notify *notify, pid_t to) {
    char state[64];
    snprintf(state, sizeof state, "MAINPID=%ld", (long)to);
    send_state(notify, "upgraded", state);
    uv_timer_stop(&notify->timer); /* the other process sends from now on */
}
