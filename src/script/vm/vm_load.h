/* vm_load.h -- the loading of an app, for the other files of script/. See vm_load.c; vm.h has the
 * functions for the worker. */
#ifndef TIDEWIRE_SCRIPT_VM_VM_LOAD_H
#define TIDEWIRE_SCRIPT_VM_VM_LOAD_H

#include "script/vm/vm.h"

#include <lua.h>

struct overrun;
struct task;

/* vm_load.c's member of struct vm. */
struct vm_load {
    unsigned generation;    /* of the activated code */
    unsigned next;          /* of the code that is being loaded, or was loaded last */
    char *sources;          /* the script files of the code that was loaded last, one a line */
    uint64_t activated_ns;  /* monotonic time of the last vm_activate(); 0: there was none */
    uint32_t codec_closed;  /* connections that vm_activate() has closed for their codec */
    vm_loaded_fn on_loaded; /* of vm_load_next(); NULL: it was called, or nothing is loaded */
    void *on_loaded_user;
    uint64_t slice_began_ns; /* CPU time of the thread at the begin of the slice */
    uint64_t slices_ns;      /* CPU time of the slices before */
    bool slice_over;
    bool stopped;    /* vm_stop_load() was called */
    bool is_overrun; /* vm_load() took too long, and has reported that */
};

void vm_load_init(struct vm *vm);
/* After the state was closed. */
void vm_load_close(struct vm *vm);

/* Around each run of a task; a run that loads new code gets a slice of time. */
void vm_load_begin_slice(struct task *task);
void vm_load_end_slice(struct task *task);
/* Sets the count hook of the slice again, after another hook has replaced it. Does nothing for
 * other tasks and NULL. */
void vm_load_set_hook(struct task *task);
/* Has the run ended because its slice is over? The next call returns false. */
bool vm_load_slice_is_over(struct vm *vm);

/* The code of vm_load_next() is loaded; its app is the table at the index. */
void vm_load_succeeded(struct vm *vm, lua_State *L, int index);
/* It cannot be loaded; the texts are lines, or NULL. */
void vm_load_failed(struct vm *vm, const char *why, const char *sources);
/* A task that loads an app has taken too long. */
void vm_load_overrun(struct vm *vm, bool is_first, const struct overrun *overrun);

/* New code has closed connections, because the codec of their endpoint is another one now. */
void vm_load_count_closed(struct vm *vm, uint32_t connections);
/* Monotonic time of the last vm_activate(); 0: the first code runs. */
uint64_t vm_load_activated_ns(const struct vm *vm);

#endif
