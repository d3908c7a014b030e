/* control_client.h -- requests to a running server on its control socket: `tidewire reload`. */
#ifndef TIDEWIRE_SERVER_CLI_CONTROL_CLIENT_H
#define TIDEWIRE_SERVER_CLI_CONTROL_CLIENT_H

/* Requests a reload from the server of this pid file, waits for its reply, and prints it. Returns
 * the exit code: EXIT_CLEAN when the new code runs. */
int control_client_reload(const char *pid_file);

#endif
