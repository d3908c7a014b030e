/* overrun.c -- texts about a run that took too long. See overrun.h. */
#include "script/vm/overrun.h"

#include "base/log/log.h"
#include "base/mem.h"
#include "script/vm/trace.h"
#include "script/vm/vm_internal.h"

#include <stdio.h>

void overrun_free(struct overrun *overrun) {
    mem_free(overrun->where);
    mem_free(overrun->traceback);
}

void overrun_push(lua_State *L, const struct overrun *overrun, bool is_loading) {
    char used[32], may[32];
    snprintf(used, sizeof used, "%.2f", overrun->used_seconds);
    snprintf(may, sizeof may, "%g", overrun->may_seconds);
    if (is_loading)
        lua_pushfstring(L, "%sloading took longer than limits.load_timeout, %s seconds of CPU time",
                        overrun->where, may);
    else
        lua_pushfstring(L,
                        "%sended after %s seconds of CPU time; handler_timeout allows %s seconds",
                        overrun->where, used, may);
}

void overrun_log(struct vm *vm, const struct overrun *overrun, const char *hook, conn_id conn) {
    struct log_line line;
    overrun_push(vm->L, overrun, false);
    log_begin_limited(&line, LOG_ERROR, "script_error");
    if (conn != 0) {
        const struct endpoint *endpoint = hub_find_endpoint(vm->hub, conn);
        log_path(&line, endpoint == NULL ? NULL : endpoint->path);
        log_conn(&line, conn);
    }
    log_str(&line, "hook", hook);
    log_str(&line, "why", lua_tostring(vm->L, -1));
    trace_log(&line, vm_sources(vm), NULL, overrun->traceback);
    log_end(&line);
    lua_pop(vm->L, 1);
}
