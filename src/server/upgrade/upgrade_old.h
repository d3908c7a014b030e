/* upgrade_old.h -- the running process's side of an upgrade: passes its listening sockets to the
 * next process. At every moment at least one process listens.
 *
 * upgrade_new.h is the other side; control.h has the sequence of messages. Main thread. */
#ifndef TIDEWIRE_SERVER_UPGRADE_UPGRADE_OLD_H
#define TIDEWIRE_SERVER_UPGRADE_UPGRADE_OLD_H

#include "server/listen/listeners.h"

#include <sys/types.h>

enum upgrade_old_state {
    UPGRADE_OLD_IDLE,   /* no upgrade is under way */
    UPGRADE_OLD_PASSED, /* the next process has the sockets, and is not ready; this one serves */
    UPGRADE_OLD_DONE,   /* the next process owns the sockets; this one drains */
};

struct upgrade_old {
    enum upgrade_old_state state; /* for reading */
    const struct listeners *listeners;
};

/* Process `pid` has requested the sockets on the control connection `fd`: sends them. In
 * UPGRADE_OLD_IDLE. Returns NULL, or why that failed: then the state is still UPGRADE_OLD_IDLE. */
const char *upgrade_old_begin(struct upgrade_old *upgrade, int fd, pid_t pid);
/* That process is ready, and owns the sockets from now on. In UPGRADE_OLD_PASSED. Returns NULL, or
 * why that failed. */
const char *upgrade_old_finish(struct upgrade_old *upgrade, int fd);
/* That connection is closed: unless the upgrade is done, another process may request the
 * sockets. */
void upgrade_old_abandon(struct upgrade_old *upgrade);

#endif
