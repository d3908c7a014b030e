/* talk.h -- `tidewire talk URL`: a WebSocket client for a terminal or a pipe. */
#ifndef TIDEWIRE_SERVER_CLI_TALK_H
#define TIDEWIRE_SERVER_CLI_TALK_H

#include "script/vm/settings.h"

/* Connects, sends each line of the standard input as a text message, and prints each message that
 * it receives, until either side closes. Returns the exit code: EXIT_CLEAN after a close with 1000,
 * 1001 or no code, EXIT_FAILED after any other or without a connection, EXIT_USAGE for an invalid
 * URL. */
int talk_run(const struct settings *settings);

#endif
