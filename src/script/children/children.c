/* children.c -- programs that scripts run, on the worker's loop. See children.h.
 *
 * A pidfd tells of the end of a process, and needs no handler of SIGCHLD, which all loops would
 * share. Where the system has none, a timer looks. */
#include "script/children/children.h"

#include "base/mem.h"
#include "base/slots.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

enum {
    TERM_MS = 2000, /* from SIGTERM to SIGKILL */
    /* After the end of a process, its pipes may be held by one that it has left behind. */
    LINGER_MS = 500,
    PASSES = 10,
    PASS_MS = 20,            /* then they are read so often, while something comes */
    LOOK_AGAIN_MS = 20,      /* without a pidfd */
    FIRST_BYTES = 4096,      /* of memory for output; doubled when it is full */
    TAKEN_BYTES = 128 * 1024 /* of output that waits to be taken */
};

struct children {
    uv_loop_t *loop;
    struct children_owner owner;
    struct slots numbered; /* those whose end was not called */
    struct child *first;   /* all */
};

struct output {
    uv_pipe_t pipe;
    char *bytes;
    size_t len, capacity;
    bool is_open, is_reading, is_taken;
};

struct child {
    struct children *children;
    struct child *next, **link; /* in the list of all */
    uint64_t number, tag;
    int pid, pidfd; /* pidfd -1: `look` looks */
    uv_poll_t exit_poll;
    uv_timer_t look, deadline; /* `deadline`: of the next step towards its end */
    uv_pipe_t input_pipe;
    uv_write_t write;
    char *input;
    size_t input_len, max_output;
    struct output output[CHILD_OUTPUTS];
    unsigned handles; /* that are open */
    bool is_input_open, is_wanted, is_awaited, is_ending, has_exited, has_ended;
    bool had_output; /* since the last pass */
    unsigned passes;
    int status; /* of waitpid() */
    char problem[256];
};

/* ---- memory ---- */

static void *resize(struct child *child, void *block, size_t old_size, size_t size) {
    const struct children_owner *owner = &child->children->owner;
    return owner->resize(owner->user, block, old_size, size);
}

static void free_output(struct child *child, struct output *output) {
    resize(child, output->bytes, output->capacity, 0);
    output->bytes = NULL;
    output->len = output->capacity = 0;
}

static void free_input(struct child *child) {
    resize(child, child->input, child->input_len, 0);
    child->input = NULL;
    child->input_len = 0;
}

static void free_child(struct child *child) {
    free_input(child);
    for (int i = 0; i < CHILD_OUTPUTS; i++)
        free_output(child, &child->output[i]);
    *child->link = child->next;
    if (child->next != NULL)
        child->next->link = child->link;
    mem_free(child);
}

/* ---- handles ---- */

static void on_closed(uv_handle_t *handle) {
    struct child *child = handle->data;
    if (handle == (uv_handle_t *)&child->exit_poll)
        close(child->pidfd);
    child->handles--;
    if (child->handles == 0 && !child->is_wanted)
        free_child(child);
}

/* Notes a handle that was opened. */
static void *opened(struct child *child, void *handle) {
    ((uv_handle_t *)handle)->data = child;
    child->handles++;
    return handle;
}

static void close_handle(void *handle) {
    uv_close(handle, on_closed);
}

static void close_input(struct child *child) {
    if (child->is_input_open)
        close_handle(&child->input_pipe);
    child->is_input_open = false;
}

static void close_output(struct output *output) {
    if (output->is_open)
        close_handle(&output->pipe);
    output->is_open = output->is_reading = false;
}

/* ---- the end ---- */

static void notify(struct child *child) {
    const struct children_owner *owner = &child->children->owner;
    if (child->is_awaited)
        owner->on_event(owner->user, child->tag);
    child->is_awaited = false;
}

/* The process is gone and its output read, or not needed: nothing is left but the result. */
static void finish(struct child *child) {
    if (child->has_ended)
        return;
    child->has_ended = true;
    close_input(child);
    for (int i = 0; i < CHILD_OUTPUTS; i++)
        close_output(&child->output[i]);
    close_handle(&child->deadline);
    notify(child);
}

static bool is_complete(const struct child *child) {
    return child->has_exited && !child->output[CHILD_STDOUT].is_open &&
           !child->output[CHILD_STDERR].is_open;
}

/* A process that the kernel does not let go is waited for, but its result is not. */
static void on_unkillable(uv_timer_t *timer) {
    finish(timer->data);
}

static void on_kill_time(uv_timer_t *timer) {
    const struct child *child = timer->data;
    uv_kill(-child->pid, SIGKILL);
    uv_timer_start(timer, on_unkillable, TERM_MS, 0);
}

/* Ends the process group. The child has ended when the process is gone. */
static void terminate(struct child *child) {
    close_input(child);
    for (int i = 0; i < CHILD_OUTPUTS; i++)
        close_output(&child->output[i]);
    if (child->has_exited) {
        finish(child);
    } else if (!child->is_ending) {
        uv_kill(-child->pid, SIGTERM);
        uv_timer_start(&child->deadline, on_kill_time, TERM_MS, 0);
    }
    child->is_ending = true;
}

static void fail(struct child *child, const char *problem) {
    if (child->problem[0] == '\0')
        snprintf(child->problem, sizeof child->problem, "%s", problem);
    terminate(child);
}

/* Does output wait to be taken, so that the pipe may hold more? */
static bool is_taken_late(const struct child *child) {
    for (int i = 0; i < CHILD_OUTPUTS; i++)
        if (child->output[i].is_open && child->output[i].is_taken && child->output[i].len > 0)
            return true;
    return false;
}

/* The process is gone, and its pipes are open. What it wrote at its end may be unread if the loop
 * was late; what another process writes is not waited for. */
static void on_linger_over(uv_timer_t *timer) {
    struct child *child = timer->data;
    if (is_taken_late(child)) {
        uv_timer_start(timer, on_linger_over, LINGER_MS, 0);
    } else if (child->passes == 0 || (child->had_output && child->passes < PASSES)) {
        child->passes++;
        child->had_output = false;
        uv_timer_start(timer, on_linger_over, PASS_MS, 0);
    } else {
        finish(child);
    }
}

static void on_timed_out(uv_timer_t *timer) {
    fail(timer->data, "timed out");
}

/* Asks for the end of the process; does nothing if it runs. */
static void look(struct child *child) {
    siginfo_t info = {.si_pid = 0};
    if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == 0)
        return;
    if (child->is_ending)
        uv_kill(-child->pid,
                SIGKILL); /* the rest of its group; no other group has its number yet */
    if (waitpid(child->pid, &child->status, 0) < 0) /* another part of the program has done it */
        snprintf(child->problem, sizeof child->problem, "its end is not known: %s",
                 strerror(errno));
    child->has_exited = true;
    close_handle(child->pidfd >= 0 ? (void *)&child->exit_poll : (void *)&child->look);
    if (child->is_ending || is_complete(child)) {
        finish(child);
    } else {
        uv_timer_start(&child->deadline, on_linger_over, LINGER_MS, 0);
    }
}

static void on_exit_poll(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    look(poll->data);
}

static void on_look(uv_timer_t *timer) {
    look(timer->data);
}

static void watch_exit(struct child *child) {
    uv_loop_t *loop = child->children->loop;
    child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
    if (child->pidfd >= 0 && uv_poll_init(loop, &child->exit_poll, child->pidfd) == 0) {
        opened(child, &child->exit_poll);
        uv_poll_start(&child->exit_poll, UV_READABLE, on_exit_poll);
        return;
    }
    if (child->pidfd >= 0)
        close(child->pidfd);
    child->pidfd = -1;
    uv_timer_init(loop, opened(child, &child->look));
    uv_timer_start(&child->look, on_look, LOOK_AGAIN_MS, LOOK_AGAIN_MS);
}

/* ---- output ---- */

static struct output *output_of(uv_handle_t *pipe) {
    struct child *child = pipe->data;
    bool is_first = pipe == (uv_handle_t *)&child->output[CHILD_STDOUT].pipe;
    return &child->output[is_first ? CHILD_STDOUT : CHILD_STDERR];
}

/* The most memory for the output: one byte more than is allowed tells that there is too much. */
static size_t most_bytes(const struct child *child, const struct output *output) {
    return output->is_taken ? TAKEN_BYTES : child->max_output + 1;
}

static void on_room(uv_handle_t *pipe, size_t suggested, uv_buf_t *out) {
    (void)suggested;
    struct child *child = pipe->data;
    struct output *output = output_of(pipe);
    if (output->len == output->capacity) {
        size_t most = most_bytes(child, output);
        size_t size = output->capacity == 0 ? FIRST_BYTES : output->capacity * 2;
        size = size < most ? size : most;
        char *bytes = resize(child, output->bytes, output->capacity, size);
        if (bytes == NULL) {
            *out = uv_buf_init(NULL, 0); /* on_read() gets UV_ENOBUFS */
            return;
        }
        output->bytes = bytes;
        output->capacity = size;
    }
    *out = (uv_buf_t){.base = output->bytes + output->len, .len = output->capacity - output->len};
}

static void fail_too_much(struct child *child, const struct output *output) {
    char problem[128];
    snprintf(problem, sizeof problem, "it wrote more than max_output, %zu bytes, to standard %s",
             child->max_output, output == &child->output[CHILD_STDOUT] ? "output" : "error");
    fail(child, problem);
}

static void on_read(uv_stream_t *pipe, ssize_t count, const uv_buf_t *buffer) {
    (void)buffer;
    struct child *child = pipe->data;
    struct output *output = output_of((uv_handle_t *)pipe);
    if (count == UV_ENOBUFS) {
        fail(child, "limits.memory leaves no room for its output");
    } else if (count < 0) {
        close_output(output);
        if (is_complete(child))
            finish(child);
    } else if (count > 0) {
        output->len += (size_t)count;
        child->had_output = true;
        if (!output->is_taken && output->len > child->max_output) {
            fail_too_much(child, output);
        } else if (output->is_taken) {
            if (output->len == TAKEN_BYTES) {
                uv_read_stop(pipe);
                output->is_reading = false;
            }
            notify(child);
        }
    }
}

static void begin_reading(struct output *output) {
    if (output->is_open && !output->is_reading)
        output->is_reading = uv_read_start((uv_stream_t *)&output->pipe, on_room, on_read) == 0;
}

/* ---- input ---- */

/* A process need not read all of it. */
static void on_written(uv_write_t *write, int status) {
    (void)status;
    struct child *child = write->data;
    free_input(child);
    close_input(child);
}

static void begin_writing(struct child *child) {
    uv_buf_t buffer = {.base = child->input, .len = child->input_len};
    child->write.data = child;
    if (child->input_len == 0 ||
        uv_write(&child->write, (uv_stream_t *)&child->input_pipe, &buffer, 1, on_written) != 0)
        close_input(child);
}

/* ---- the start ---- */

static void open_pipe(struct child *child, uv_pipe_t *pipe, int descriptor) {
    uv_pipe_init(child->children->loop, opened(child, pipe), 0);
    uv_pipe_open(pipe, descriptor);
}

static void begin(struct child *child, const struct launched *launched, uint64_t timeout_ms) {
    uv_loop_t *loop = child->children->loop;
    child->pid = launched->pid;
    watch_exit(child);
    uv_timer_init(loop, opened(child, &child->deadline));
    uv_update_time(loop); /* it may be old: a hook has run since */
    if (timeout_ms > 0)
        uv_timer_start(&child->deadline, on_timed_out, timeout_ms, 0);
    for (int i = 0; i < CHILD_OUTPUTS; i++) {
        open_pipe(child, &child->output[i].pipe, launched->pipes[LAUNCH_OUTPUT + i]);
        child->output[i].is_open = true;
        begin_reading(&child->output[i]);
    }
    if (launched->pipes[LAUNCH_INPUT] >= 0) {
        open_pipe(child, &child->input_pipe, launched->pipes[LAUNCH_INPUT]);
        child->is_input_open = true;
        begin_writing(child);
    }
}

static struct child *new_child(struct children *children) {
    struct child *child = mem_zalloc(sizeof *child);
    child->children = children;
    child->next = children->first;
    child->link = &children->first;
    if (child->next != NULL)
        child->next->link = &child->next;
    children->first = child;
    return child;
}

/* Copies the input: the script's string may be collected before it is written. */
static bool copy_input(struct child *child, struct slice input) {
    if (input.len == 0)
        return true;
    child->input = resize(child, NULL, 0, input.len);
    if (child->input == NULL)
        return false;
    memcpy(child->input, input.bytes, input.len);
    child->input_len = input.len;
    return true;
}

uint64_t children_start(struct children *children, const struct child_options *options,
                        uint64_t tag, const struct error_text *problem) {
    struct launch launch = options->launch;
    struct launched launched;
    struct child *child = new_child(children);
    launch.has_input = options->input.bytes != NULL;
    bool ok = copy_input(child, options->input);
    if (!ok)
        error_text_fail(problem, "%s: limits.memory leaves no room for its input",
                        launch.arguments[0]);
    ok = ok && launch_program(&launch, &launched, problem);
    if (!ok) {
        free_child(child);
        return 0;
    }
    child->tag = tag;
    child->max_output = options->max_output;
    child->is_wanted = true;
    for (int i = 0; i < CHILD_OUTPUTS; i++)
        child->output[i].is_taken = options->is_taken[i];
    begin(child, &launched, options->timeout_ms);
    child->number = slots_add(&children->numbered, child);
    return child->number;
}

/* ---- results ---- */

bool children_result(const struct children *children, uint64_t number, struct child_result *out) {
    const struct child *child = slots_find(&children->numbered, number);
    if (child == NULL || !child->has_ended)
        return false;
    bool has_signal = WIFSIGNALED(child->status);
    *out = (struct child_result){
        .problem = child->problem[0] == '\0' ? NULL : child->problem,
        .code = has_signal ? -1 : WEXITSTATUS(child->status),
        .signal = has_signal ? WTERMSIG(child->status) : 0,
    };
    for (int i = 0; i < CHILD_OUTPUTS; i++)
        out->output[i] = (struct slice){child->output[i].bytes, child->output[i].len};
    return true;
}

struct slice children_take(struct children *children, uint64_t number, enum child_output which) {
    struct child *child = slots_find(&children->numbered, number);
    if (child == NULL)
        return (struct slice){NULL, 0};
    struct output *output = &child->output[which];
    struct slice taken = {output->bytes, output->len};
    output->len = 0;
    begin_reading(output); /* on_room() is called by the loop */
    return taken;
}

void children_wait(struct children *children, uint64_t number) {
    struct child *child = slots_find(&children->numbered, number);
    if (child != NULL)
        child->is_awaited = true;
}

void children_end(struct children *children, uint64_t number) {
    struct child *child = slots_find(&children->numbered, number);
    if (child == NULL)
        return;
    slots_remove(&children->numbered, number);
    child->is_wanted = child->is_awaited = false;
    if (!child->has_ended)
        terminate(child);
    if (child->handles == 0)
        free_child(child);
}

/* ---- life ---- */

struct children *children_new(uv_loop_t *loop, const struct children_owner *owner) {
    struct children *children = mem_zalloc(sizeof *children);
    children->loop = loop;
    children->owner = *owner;
    return children;
}

void children_end_all(struct children *children) {
    uint32_t at = 0;
    for (struct child *child; (child = slots_next(&children->numbered, &at)) != NULL;)
        children_end(children, child->number);
}

void children_free(struct children *children) {
    if (children == NULL)
        return;
    slots_close(&children->numbered);
    mem_free(children);
}
