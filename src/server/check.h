/* check.h -- `tidewire check`: loads an app with one worker, on the main thread, and opens
 * nothing. */
#ifndef TIDEWIRE_SERVER_CHECK_H
#define TIDEWIRE_SERVER_CHECK_H

#include "server/settings.h"

/* Prints what is wrong with the app, or that all is well. Returns the exit code. */
int check_run(const struct settings *settings);

#endif
