/* server.h -- the process: from its settings to its exit code. */
#ifndef TIDEWIRE_SERVER_SERVER_H
#define TIDEWIRE_SERVER_SERVER_H

#include "script/vm/settings.h"

/* Exit codes (docs/operating.md). */
enum { EXIT_CLEAN = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* Runs the app until a signal or os.exit ends it. Returns the exit code. */
int server_run(const struct settings *settings);

/* Logs `why`, and ends the process without waiting for threads, as exit() does. */
_Noreturn void server_exit_now(int code, const char *why);

#endif
