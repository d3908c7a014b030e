/* remote.h -- commands to a server that runs: `tidewire reload`. */
#ifndef TIDEWIRE_SERVER_REMOTE_H
#define TIDEWIRE_SERVER_REMOTE_H

/* Lets the server of this pid file load its code anew, waits until that has come to something, and prints what.
 * Returns the exit code: 0 when the new code runs. */
int remote_reload(const char *pid_file);

#endif
