/* fast_path.h -- messages that go to handle_message without dispatch.lua. See fast_path.c. */
#ifndef TIDEWIRE_SCRIPT_VM_FAST_PATH_H
#define TIDEWIRE_SCRIPT_VM_FAST_PATH_H

#include "base/conn_id.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

struct conn;
struct vm;
struct task;

/* fast_path.c's member of struct vm. All numbers but the count are references in the registry. */
struct fast_path {
    int *functions; /* handle_message of each endpoint, by its number; LUA_NOREF: none */
    size_t count;
    int text_ref, binary_ref; /* the kinds of message, as strings */
};

/* In a new state, before other references are made. */
void fast_path_open(struct vm *vm, lua_State *L);
void fast_path_close(struct vm *vm);

/* A task with handle_message and its three arguments. NULL: dispatch.lua handles the message. */
struct task *fast_path_task(struct vm *vm, struct conn *conn, bool binary, const char *bytes,
                            size_t len);
/* Has the task's handle_message returned nil and an error? */
bool fast_path_returned_error(const struct task *task);
/* Then this is a task, with two arguments, that passes the error to on_error. The first task stays
 * the caller's. */
struct task *fast_path_error_task(struct task *task);

/* A reference in the registry to the function for messages of an endpoint, or LUA_NOREF. */
void fast_path_set(struct vm *vm, uint32_t number, int function);

#endif
