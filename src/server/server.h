/* server.h -- the process: from its settings to its exit code. */
#ifndef TIDEWIRE_SERVER_SERVER_H
#define TIDEWIRE_SERVER_SERVER_H

#include "server/settings.h"

/* Exit codes (docs/operating.md). */
enum { EXIT_CLEAN = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* Runs the app until a signal ends it. Returns the exit code. */
int server_run(const struct settings *settings);

/* Loads the app and opens nothing: prints what is wrong, or that all is well. Returns the exit code. */
int server_check(const struct settings *settings);

#endif
