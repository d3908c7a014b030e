/* trace.h -- what the log says of where an error of a script was.
 *
 * A traceback goes through the library, whose frames say nothing to who has written the script.
 * What stays are the script's own, one each as "file:line in function"; and for people the lines of
 * source around the place. */
#ifndef TIDEWIRE_SCRIPT_VM_TRACE_H
#define TIDEWIRE_SCRIPT_VM_TRACE_H

#include "base/log/log.h"

/* Adds both to a line of the log. `sources`: the script files there are, one a line, or NULL; Lua
 * shortens long names. `why` is the error's message, NULL or with "file:line:" at its beginning;
 * `traceback` is of luaL_traceback's form, one or several. */
void trace_log(struct log_line *line, const char *sources, const char *why, const char *traceback);

#endif
