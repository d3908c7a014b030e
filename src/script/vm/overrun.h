/* overrun.h -- a run that took more CPU time than its budget: its values and texts. */
#ifndef TIDEWIRE_SCRIPT_VM_OVERRUN_H
#define TIDEWIRE_SCRIPT_VM_OVERRUN_H

#include "base/conn_id.h"

#include <lua.h>
#include <stdbool.h>

struct vm;

/* budget_end() fills it; overrun_free() frees the texts. */
struct overrun {
    char *where;     /* "app.lua:12: " or "" */
    char *traceback; /* of the coroutine that ran, then of those that had resumed it */
    double used_seconds, may_seconds;
};

void overrun_free(struct overrun *overrun);

/* Pushes a sentence, which begins with `where`. */
void overrun_push(lua_State *L, const struct overrun *overrun, bool is_loading);

/* Logs a script_error. `conn`: it ran a hook of this connection; 0: of none. */
void overrun_log(struct vm *vm, const struct overrun *overrun, const char *hook, conn_id conn);

#endif
