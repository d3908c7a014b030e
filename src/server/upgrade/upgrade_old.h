/* upgrade_old.h -- the running process's side of an upgrade: it passes its listening sockets to
 * the next process, without a moment in which no process listens.
 *
 * upgrade_new.h is the other side; the order of messages stands on top of control.h. Main
 * thread. */
#ifndef TIDEWIRE_SERVER_UPGRADE_UPGRADE_OLD_H
#define TIDEWIRE_SERVER_UPGRADE_UPGRADE_OLD_H

#include "server/listen/listeners.h"

#include <sys/types.h>

enum upgrade_old_state {
    UPGRADE_OLD_IDLE,   /* no next process has asked, or it has gone */
    UPGRADE_OLD_PASSED, /* one has the sockets, and is not ready yet; this process serves */
    UPGRADE_OLD_DONE,   /* the sockets are the next process's; this one drains */
};

struct upgrade_old {
    enum upgrade_old_state state; /* for reading */
    const struct listeners *listeners;
};

/* Process `pid` has asked on the control connection `fd`: passes all sockets. In UPGRADE_OLD_IDLE.
 * NULL, or why it failed: then UPGRADE_OLD_IDLE again. */
const char *upgrade_old_begin(struct upgrade_old *upgrade, int fd, pid_t pid);
/* That process is ready: the sockets become its own. In UPGRADE_OLD_PASSED. NULL, or why it
 * failed. */
const char *upgrade_old_finish(struct upgrade_old *upgrade, int fd);
/* That connection is closed: unless the upgrade is done, the next process that asks gets the
 * sockets. */
void upgrade_old_abandon(struct upgrade_old *upgrade);

#endif
