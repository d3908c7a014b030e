/* check.h -- `tidewire check`: loads an app in one worker, on the main thread, and opens no
 * socket. */
#ifndef TIDEWIRE_SERVER_CHECK_H
#define TIDEWIRE_SERVER_CHECK_H

#include "script/vm/settings.h"

/* Prints the errors of the app, or that it is ok. Returns the exit code. */
int check_run(const struct settings *settings);

#endif
