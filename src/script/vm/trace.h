/* trace.h -- the place of a script's error, in a line of the log.
 *
 * A traceback has frames of the library, which tell the author of the script nothing. The log has
 * only the script's own frames, each as "file:line in function"; in the format for people also the
 * lines of source around the place. */
#ifndef TIDEWIRE_SCRIPT_VM_TRACE_H
#define TIDEWIRE_SCRIPT_VM_TRACE_H

#include "base/log/log.h"

/* Adds both to a line of the log. `sources`: the names of the script files, one a line, or NULL; by
 * them long names are found, which Lua shortens. `why`: the message of the error, with "file:line:"
 * at its begin or without it, or NULL. `traceback`: one or several, in the form of
 * luaL_traceback(). */
void trace_log(struct log_line *line, const char *sources, const char *why, const char *traceback);

#endif
