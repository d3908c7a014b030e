/* vm_thread.h -- the Lua state of a thread that serves no connections: one of a pool's threads.
 *
 * It has no hub, no loop and no tasks, so nothing in it waits: functions block their thread. Its
 * memory and the CPU time of each run have limits, as in a worker's state, and errors are caught
 * as there. Made, used and freed on its thread. */
#ifndef TIDEWIRE_SCRIPT_VM_VM_THREAD_H
#define TIDEWIRE_SCRIPT_VM_VM_THREAD_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

struct vm;
struct vm_bindings;
struct budget;
struct overrun;

struct vm_thread_options {
    const struct vm_bindings *bindings;
    const char *name; /* of the pool, for the log; borrowed */
    size_t memory;    /* bytes */
};

/* A state with the libraries and this module of the embedded library, whose value is on its stack.
 * NULL, after a line of the log: it cannot be loaded. */
struct vm *vm_thread_new(const struct vm_thread_options *options, const char *module);
/* Accepts NULL. */
void vm_thread_free(struct vm *vm);

lua_State *vm_thread_state(struct vm *vm);
/* The name of the pool; NULL: the state is a worker's. */
const char *vm_thread_name(const struct vm *vm);

enum vm_thread_result {
    VM_THREAD_RETURNED,  /* the results are on the stack */
    VM_THREAD_FAILED,    /* what the message handler has returned is on the stack */
    VM_THREAD_NO_MEMORY, /* a sentence is on the stack */
    VM_THREAD_OVERRUN,   /* it took too long: nothing is on the stack */
};

/* Calls the function below the arguments, which are popped with it, with so many seconds of CPU
 * time. `handler` is the index of a message handler. For VM_THREAD_OVERRUN, the caller frees what
 * `overrun` has. */
enum vm_thread_result vm_thread_call(struct vm *vm, int arguments, int handler, double seconds,
                                     struct overrun *overrun);
/* Any thread, while vm_thread_call() runs or is about to run: it shall end soon, as if its time
 * were over. */
void vm_thread_interrupt(struct vm *vm);
/* Before vm_thread_call(): forgets vm_thread_interrupt(). */
void vm_thread_prepare(struct vm *vm);

/* Between two calls: gives memory back, always or if there is much garbage. True: it has
 * failed to get memory, and keeps most of what it may have. */
bool vm_thread_collect(struct vm *vm, bool always);

#endif
