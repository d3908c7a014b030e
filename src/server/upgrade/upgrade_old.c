/* upgrade_old.c -- the running process's side of an upgrade. See upgrade_old.h. */
#include "server/upgrade/upgrade_old.h"

#include "base/log/log.h"
#include "server/upgrade/control.h"

#include <stdio.h>

static bool send_address(int to, const int *fds, size_t count, const struct passed_facts *facts) {
    char text[CONTROL_MESSAGE_BYTES];
    snprintf(text, sizeof text, CONTROL_ADDRESS, facts->for_admin, facts->any_port,
             facts->owns_file);
    for (size_t sent = 0; sent < count;) {
        size_t some = count - sent < CONTROL_MAX_FDS ? count - sent : CONTROL_MAX_FDS;
        if (!control_send(to, text, fds + sent, some))
            return false;
        sent += some;
    }
    return true;
}

static bool send_sockets(int to, const struct listeners *listeners) {
    struct listen_set *set;
    for (size_t i = 0; (set = listeners_at(listeners, i)) != NULL; i++) {
        const int *fds;
        size_t count;
        struct passed_facts facts;
        for (size_t j = 0; listen_get_fds(set, j, &fds, &count, &facts); j++)
            if (!send_address(to, fds, count, &facts))
                return false;
    }
    return control_send(to, CONTROL_END, NULL, 0);
}

const char *upgrade_old_begin(struct upgrade_old *upgrade, int fd, pid_t pid) {
    log_eventf(LOG_INFO, "upgrade", "process %ld has asked for the sockets", (long)pid);
    if (!send_sockets(fd, upgrade->listeners))
        return "does not receive them";
    upgrade->state = UPGRADE_OLD_PASSED;
    return NULL;
}

const char *upgrade_old_finish(struct upgrade_old *upgrade, int fd) {
    if (!control_send(fd, CONTROL_YOURS, NULL, 0))
        return "has ended before the last message";
    upgrade->state = UPGRADE_OLD_DONE;
    return NULL;
}

void upgrade_old_abandon(struct upgrade_old *upgrade) {
    if (upgrade->state == UPGRADE_OLD_PASSED)
        upgrade->state = UPGRADE_OLD_IDLE;
}
