/* observe.h -- what a worker's Lua state runs, for another thread, while it runs.
 *
 * Nothing is locked and the worker is not interrupted: all is read by copies of its memory
 * (base/memory_copy.h). So an observation costs the worker nothing and cannot harm it, but it may
 * be wrong, unless the worker's thread has not run meanwhile. Only the watchdog's thread observes.
 * docs/decisions/worker_blocked.md has the reasons. */
#ifndef TIDEWIRE_SCRIPT_VM_OBSERVE_H
#define TIDEWIRE_SCRIPT_VM_OBSERVE_H

#include "base/conn_id.h"

#include <stdbool.h>
#include <stdint.h>

struct vm;

/* A line of a script. */
struct script_line {
    char file[256]; /* empty: it is not known. The end of a long name, after "..." */
    int line;       /* -1: the code was compiled without lines */
};

struct observation {
    uint64_t run;          /* the number of the run (budget.h); 0: no Lua runs */
    bool is_in_c;          /* it is in a C function that a script has called: `at` is exact */
    bool is_in_lua;        /* it is in a function of Lua's; neither: the calls are not known */
    const char *hook;      /* as in other lines of the log; NULL: it is not known */
    conn_id conn;          /* it runs a hook or a timer of this connection; 0: of none */
    char endpoint[128];    /* the path of its endpoint; empty: there is none */
    struct script_line at; /* the innermost line of the script's own */
};

/* Before any thread runs. False: this version of Lua has other structures, or the system refuses
 * the copies; observations have no `at` then. */
bool observe_open(void);
void observe_close(void);

/* On the worker's thread: the name of the file in a source of Lua's. */
void observe_name(const char *source, size_t len, struct script_line *at);

void observe_vm(const struct vm *vm, struct observation *observation);

#endif
