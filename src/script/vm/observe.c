/* observe.c -- a look at a Lua state from another thread. See observe.h.
 *
 * Lua's own functions cannot be used: they follow pointers that may lead nowhere by then. The
 * structures below are the beginnings of those of Lua 5.4; observe_open() compares the result with
 * that of lua_getinfo() and observes no lines if they differ. Every number that is read may be
 * nonsense, so each has a limit. */
#include "script/vm/observe.h"

#include "base/memory_copy.h"
#include "script/vm/vm_internal.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

/* ---- Lua's structures ---- */

/* What each object that is collected begins with. */
#define OBJECT_HEAD                                                                                \
    void *next_object;                                                                             \
    uint8_t type, marks

struct state_head {
    OBJECT_HEAD;
    uint8_t status, allows_hook;
    uint16_t call_count;
    void *top, *global;
    struct call_head *call; /* the innermost one */
};

struct call_head {
    void *function; /* the address of its value on the stack */
    void *top;
    struct call_head *caller, *next;
    const uint32_t *next_instruction; /* of a Lua function */
};

struct value {
    void *object;
    uint8_t type;
};

struct closure_head {
    OBJECT_HEAD;
    uint8_t upvalue_count;
    void *gray;
    struct function_head *function;
};

struct function_head {
    OBJECT_HEAD;
    uint8_t parameters, is_vararg, stack_size;
    int upvalue_count, constant_count, code_count, line_count, function_count, local_count;
    int base_count; /* of `bases` */
    int first_line, last_line;
    void *constants;
    const uint32_t *code;
    void *functions, *upvalues;
    const int8_t *lines;           /* of each instruction: the difference to the one before, … */
    const struct line_base *bases; /* … or NO_DIFFERENCE: here is its line */
    void *locals;
    const struct text_head *source;
};

enum { NO_DIFFERENCE = -128 };

struct line_base {
    int instruction, line;
};

struct text_head {
    OBJECT_HEAD;
    uint8_t extra, short_len;
    unsigned hash;
    size_t long_len;
    char bytes[1];
};

/* Types of values, without the bit of those that are collected. */
enum { TYPE_LUA_FUNCTION = 6, TYPE_SHORT_TEXT = 4, COLLECTED = 64 };

/* Most calls that are visited, differences of lines that are added, and bytes of them at once. */
enum { MOST_CALLS = 250, MOST_DIFFERENCES = 1 << 20, SOME_DIFFERENCES = 512 };

static atomic_bool has_lines; /* observe_open() has succeeded */

/* ---- the line of an instruction ---- */

/* The last base at the instruction or before it; without one the begin of the function. */
static bool find_base(const struct function_head *function, int instruction,
                      struct line_base *base) {
    int from = 0, to = function->base_count;
    *base = (struct line_base){-1, function->first_line};
    while (from < to) {
        int middle = from + (to - from) / 2;
        struct line_base found;
        if (!memory_copy(&found, memory_at(function->bases, (size_t)middle * sizeof found),
                         sizeof found))
            return false;
        if (found.instruction <= instruction) {
            *base = found;
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return true;
}

static int line_of(const struct function_head *function, int instruction) {
    struct line_base base;
    if (instruction < 0 || instruction >= function->line_count || function->lines == NULL ||
        !find_base(function, instruction, &base) || base.instruction < -1 ||
        instruction - base.instruction > MOST_DIFFERENCES)
        return -1;
    unsigned line = (unsigned)base.line; /* nonsense must not overflow */
    for (int at = base.instruction + 1, some; at <= instruction; at += some) {
        int8_t differences[SOME_DIFFERENCES];
        some = instruction - at + 1 < SOME_DIFFERENCES ? instruction - at + 1 : SOME_DIFFERENCES;
        if (!memory_copy(differences, memory_at(function->lines, (size_t)at), (size_t)some))
            return -1;
        for (int i = 0; i < some; i++)
            if (differences[i] != NO_DIFFERENCE)
                line += (unsigned)differences[i];
    }
    return (int)line;
}

/* ---- the name of a source ---- */

typedef bool (*copy_fn)(void *to, const void *from, size_t len);

/* "@app.lua" -> "app.lua"; the text of code that a script has compiled has no name. */
static bool copy_name(copy_fn copy, const char *source, size_t len, struct script_line *at) {
    char first = '\0', *to = at->file;
    if (len > 0 && !copy(&first, source, 1))
        return false;
    if (first != '@' && first != '=') {
        strcpy(at->file, "[string]");
        return true;
    }
    size_t from = 1, room = sizeof at->file - 1;
    if (len - from > room) {
        memcpy(to, "...", 3);
        to += 3;
        from = len - (room - 3);
    }
    to[len - from] = '\0';
    return copy(to, memory_at(source, from), len - from);
}

static bool copy_own(void *to, const void *from, size_t len) {
    memcpy(to, from, len);
    return true;
}

void observe_name(const char *source, size_t len, struct script_line *at) {
    copy_name(copy_own, source, len, at);
}

static bool read_name(const struct text_head *source, struct script_line *at) {
    struct text_head text;
    if (!memory_copy(&text, source, offsetof(struct text_head, bytes)))
        return false;
    bool is_short = (text.type & ~COLLECTED) == TYPE_SHORT_TEXT;
    return copy_name(memory_copy, memory_at(source, offsetof(struct text_head, bytes)),
                     is_short ? text.short_len : text.long_len, at);
}

static bool is_in_library(const char *file) {
    static const char ours[] = "lua/tidewire/";
    return strncmp(file, ours, sizeof ours - 1) == 0;
}

/* ---- calls ---- */

/* Copies the function of a call. False: it is a C function, or cannot be read. */
static bool read_function(const struct call_head *call, struct function_head *function) {
    struct value value;
    struct closure_head closure;
    return memory_copy(&value, call->function, sizeof value) &&
           value.type == (TYPE_LUA_FUNCTION | COLLECTED) &&
           memory_copy(&closure, value.object, sizeof closure) &&
           memory_copy(function, closure.function, sizeof *function);
}

/* Of a Lua function that has called another one: the line of that call. */
static int line_of_call(const struct call_head *call, const struct function_head *function) {
    uintptr_t offset = (uintptr_t)call->next_instruction - (uintptr_t)function->code;
    size_t next = offset / sizeof *function->code;
    return next <= (size_t)function->code_count ? line_of(function, (int)next - 1) : -1;
}

/* Finds the innermost call of a script's function. Returns whether a C function is the innermost
 * call of all. */
static bool read_calls(const void *state, struct script_line *at) {
    struct state_head head;
    struct call_head call;
    struct function_head function;
    bool is_in_c = false;
    at->file[0] = '\0';
    if (!memory_copy(&head, state, sizeof head))
        return false;
    const struct call_head *next = head.call;
    for (int level = 0; level < MOST_CALLS; level++, next = call.caller) {
        if (!memory_copy(&call, next, sizeof call) || call.caller == NULL)
            break; /* that is the record of the coroutine itself */
        bool is_lua = read_function(&call, &function);
        if (level == 0)
            is_in_c = !is_lua;
        if (!is_lua || !read_name(function.source, at) || is_in_library(at->file))
            continue;
        at->line = line_of_call(&call, &function);
        return is_in_c;
    }
    at->file[0] = '\0';
    return is_in_c;
}

/* ---- a state ---- */

static void observe_task(const struct vm *vm, const struct task *task,
                         struct observation *observation) {
    observation->hook = vm_hook_name(task->event);
    observation->conn = task->owner;
    if (task->owner == 0 || !hub_observe_path(vm->hub, task->owner, observation->endpoint,
                                              sizeof observation->endpoint))
        observation->endpoint[0] = '\0';
}

void observe_vm(const struct vm *vm, struct observation *observation) {
    *observation = (struct observation){0};
    uint64_t run = budget_run(&vm->budget);
    const lua_State *running = budget_running(&vm->budget);
    const struct task *current;
    struct task task;
    if (run % 2 == 0 || !memory_copy(&current, &vm->run.current, sizeof current))
        return;
    bool has_task = current != NULL && memory_copy(&task, current, sizeof task);
    if (has_task)
        observe_task(vm, &task, observation);
    else if (current == NULL)
        observation->hook = "luv callback";
    if (running != NULL && atomic_load(&has_lines)) {
        observation->is_in_c = read_calls(running, &observation->at);
        observation->is_in_lua = !observation->is_in_c;
        /* a C function may be the body of a coroutine: the line of the hook then */
        if (observation->at.file[0] == '\0' && observation->is_in_c && has_task)
            read_calls(task.co, &observation->at);
    }
    if (budget_run(&vm->budget) == run)
        observation->run = run;
    else
        *observation = (struct observation){0}; /* it has ended meanwhile */
}

/* ---- the comparison with lua_getinfo() ---- */

enum { LINES_COMPARED = 100 };

/* Called by the test's code: is its caller's line observed as lua_getinfo() has it? */
static int compare(lua_State *L) {
    struct script_line at;
    lua_Debug caller;
    lua_getstack(L, 1, &caller);
    lua_getinfo(L, "Sl", &caller);
    bool is_equal = read_calls(L, &at) && at.line == caller.currentline &&
                    strcmp(at.file, caller.source + 1) == 0;
    lua_pushboolean(L, is_equal);
    return 1;
}

/* Calls compare() on many lines of a function, some of which are far from each other. */
static int compare_lines(lua_State *L) {
    luaL_Buffer code;
    luaL_buffinit(L, &code);
    luaL_addstring(&code, "local compare = ... local n = 0\n");
    for (int i = 1; i <= LINES_COMPARED; i++) {
        luaL_addstring(&code, "n = n + (compare() and 1 or 0)");
        for (int line = 0; line <= (i % 20 == 0 ? 300 : i % 3); line++)
            luaL_addchar(&code, '\n');
    }
    luaL_addstring(&code, "return n");
    luaL_pushresult(&code);
    if (luaL_loadbuffer(L, lua_tostring(L, -1), lua_rawlen(L, -1), "@compare") != LUA_OK)
        return lua_error(L);
    lua_pushcfunction(L, compare);
    lua_call(L, 1, 1);
    return 1;
}

bool observe_open(void) {
    if (!memory_copy_open())
        return false;
    lua_State *L = luaL_newstate();
    if (L == NULL)
        return false;
    lua_pushcfunction(L, compare_lines);
    bool is_equal = lua_pcall(L, 0, 1, 0) == LUA_OK && lua_tointeger(L, -1) == LINES_COMPARED;
    lua_close(L);
    atomic_store(&has_lines, is_equal);
    return is_equal;
}

void observe_close(void) {
    memory_copy_close();
}
