/* control_client.h -- commands to a server that runs, by its control socket: `tidewire reload`. */
#ifndef TIDEWIRE_SERVER_CLI_CONTROL_CLIENT_H
#define TIDEWIRE_SERVER_CLI_CONTROL_CLIENT_H

/* Asks the server of this pid file for a reload, waits until it has succeeded or failed, and
 * prints which. Returns the exit code: 0 when the new code runs. */
int control_client_reload(const char *pid_file);

#endif
