/* cluster_check.h -- `tidewire cluster check URL…`: are these Redis servers fit for a cluster? */
#ifndef TIDEWIRE_SERVER_CLI_CLUSTER_CHECK_H
#define TIDEWIRE_SERVER_CLI_CLUSTER_CHECK_H

#include "script/vm/settings.h"

/* Connects to each server as a node does, tries each command, measures, and prints what is wrong
 * and what to do, for people or (--json) as JSON. Returns the exit code: EXIT_CLEAN without
 * problems, EXIT_FAILED with one, EXIT_USAGE for an invalid URL. */
int cluster_check_run(const struct settings *settings);

#endif
