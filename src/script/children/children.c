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
#include <sys/ioctl.h>
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
    TURN_BYTES = 64 * 1024,  /* that are read of one pipe in a turn of the loop */
    FIRST_BYTES = 4096,      /* of memory for output; doubled when it is full */
    TAKEN_BYTES = 128 * 1024 /* of output that waits to be taken */
};

struct children {
    uv_loop_t *loop;
    struct children_owner owner;
    struct slots numbered; /* those whose end was not called */
    struct child *first;   /* all */
};

/* A descriptor that the loop watches, and that is closed with its handle. */
struct watched {
    uv_poll_t poll;
    int fd;
    bool is_open;
};

struct output {
    struct watched pipe;
    char *bytes;
    size_t len, capacity;
    size_t unread; /* the process is gone: what the pipe had then, and has still */
    bool is_reading, is_taken;
};

struct child {
    struct children *children;
    struct child *next, **link; /* in the list of all */
    uint64_t number, tag;
    struct launching *launching; /* NULL: the program was started, or cannot be */
    size_t launching_size;
    int pid;
    struct watched exit;       /* a pidfd; not open: `look` looks */
    uv_timer_t look, deadline; /* `deadline`: of the next step towards its end */
    struct watched input_pipe;
    char *input;
    size_t input_len, written, max_output;
    struct output output[CHILD_OUTPUTS];
    unsigned handles; /* that are open */
    bool is_wanted, is_awaited, is_ending, has_exited, has_ended;
    bool had_output; /* since the last pass */
    unsigned passes;
    int status; /* of waitpid() */
    char problem[512];
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

static void free_launching(struct child *child) {
    resize(child, child->launching, child->launching_size, 0);
    child->launching = NULL;
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
    child->handles--;
    if (child->handles == 0 && !child->is_wanted)
        free_child(child);
}

static void on_watched_closed(uv_handle_t *handle) {
    close(((struct watched *)handle)->fd); /* the handle is its first member */
    on_closed(handle);
}

/* Notes a handle that was opened. */
static void *opened(struct child *child, void *handle) {
    ((uv_handle_t *)handle)->data = child;
    child->handles++;
    return handle;
}

static void close_timer(uv_timer_t *timer) {
    uv_close((uv_handle_t *)timer, on_closed);
}

/* The descriptor becomes the loop's, which closes it. False: it is closed at once. */
static bool watch(struct child *child, struct watched *watched, int fd) {
    watched->fd = fd;
    watched->is_open = uv_poll_init(child->children->loop, &watched->poll, fd) == 0;
    if (watched->is_open)
        opened(child, &watched->poll);
    else
        close(fd);
    return watched->is_open;
}

static void unwatch(struct watched *watched) {
    if (watched->is_open)
        uv_close((uv_handle_t *)&watched->poll, on_watched_closed);
    watched->is_open = false;
}

static void close_pipes(struct child *child) {
    unwatch(&child->input_pipe);
    for (int i = 0; i < CHILD_OUTPUTS; i++)
        unwatch(&child->output[i].pipe);
}

/* ---- the end ---- */

static void notify(struct child *child) {
    const struct children_owner *owner = &child->children->owner;
    if (child->is_awaited)
        owner->on_event(owner->user, child->tag);
    child->is_awaited = false;
}

/* The result is known. */
static void conclude(struct child *child) {
    child->has_ended = true;
    notify(child);
}

/* The process is gone and its output read, or not needed: nothing is left but the result. */
static void finish(struct child *child) {
    close_pipes(child);
    if (!uv_is_closing((uv_handle_t *)&child->deadline))
        close_timer(&child->deadline);
    conclude(child);
}

static bool is_complete(const struct child *child) {
    return child->has_exited && !child->output[CHILD_STDOUT].pipe.is_open &&
           !child->output[CHILD_STDERR].pipe.is_open;
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

static void end_group(struct child *child) {
    uv_kill(-child->pid, SIGTERM);
    uv_timer_start(&child->deadline, on_kill_time, TERM_MS, 0);
}

/* Ends the process group. The child has ended when the process is gone. One that is being started
 * has ended now: its process is ended as soon as it is known. */
static void terminate(struct child *child) {
    bool was_ending = child->is_ending;
    child->is_ending = true;
    close_pipes(child);
    if (child->launching != NULL) {
        uv_timer_stop(&child->deadline);
        launch_cancel(child->launching);
        conclude(child);
    } else if (child->has_exited) {
        finish(child);
    } else if (!was_ending) {
        end_group(child);
    }
}

static void note_problem(struct child *child, const char *problem) {
    if (child->problem[0] == '\0')
        snprintf(child->problem, sizeof child->problem, "%s", problem);
}

static void fail(struct child *child, const char *problem) {
    note_problem(child, problem);
    terminate(child);
}

/* Notes what is in the pipes as the process ends: later bytes come from another one. */
static void note_unread(struct child *child) {
    for (int i = 0; i < CHILD_OUTPUTS; i++) {
        struct output *output = &child->output[i];
        int count;
        if (output->pipe.is_open && ioctl(output->pipe.fd, FIONREAD, &count) == 0)
            output->unread = (size_t)count;
    }
}

/* Does output of the process wait in a pipe until the script has taken what came before? */
static bool is_taken_late(const struct child *child) {
    for (int i = 0; i < CHILD_OUTPUTS; i++)
        if (child->output[i].pipe.is_open && child->output[i].is_taken &&
            child->output[i].unread > 0)
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
    if (child->exit.is_open)
        unwatch(&child->exit);
    else
        close_timer(&child->look);
    if (child->is_ending || is_complete(child)) {
        finish(child);
    } else {
        note_unread(child);
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
    int pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
    if (pidfd >= 0 && watch(child, &child->exit, pidfd)) {
        uv_poll_start(&child->exit.poll, UV_READABLE, on_exit_poll);
        return;
    }
    uv_timer_init(child->children->loop, opened(child, &child->look));
    uv_timer_start(&child->look, on_look, LOOK_AGAIN_MS, LOOK_AGAIN_MS);
}

/* ---- output ---- */

/* The most memory for the output: one byte more than is allowed tells that there is too much. */
static size_t most_bytes(const struct child *child, const struct output *output) {
    return output->is_taken ? TAKEN_BYTES : child->max_output + 1;
}

/* False: there is no memory for more. */
static bool make_room(struct child *child, struct output *output) {
    if (output->len < output->capacity)
        return true;
    size_t most = most_bytes(child, output);
    size_t size = output->capacity == 0 ? FIRST_BYTES : output->capacity * 2;
    size = size < most ? size : most;
    char *bytes = resize(child, output->bytes, output->capacity, size);
    if (bytes == NULL)
        return false;
    output->bytes = bytes;
    output->capacity = size;
    return true;
}

static void fail_too_much(struct child *child, const struct output *output) {
    char problem[128];
    snprintf(problem, sizeof problem, "it wrote more than max_output, %zu bytes, to standard %s",
             child->max_output, output == &child->output[CHILD_STDOUT] ? "output" : "error");
    fail(child, problem);
}

/* Is more output allowed now? If not, the pipe is not read any more, or for some time. */
static bool may_have_more(struct child *child, struct output *output) {
    if (!output->is_taken && output->len > child->max_output) {
        fail_too_much(child, output);
        return false;
    }
    if (output->is_taken && output->len == TAKEN_BYTES) {
        uv_poll_stop(&output->pipe.poll);
        output->is_reading = false;
        return false;
    }
    return true;
}

/* Reads what the pipe has, up to the share of one child in a turn. */
static void read_output(struct child *child, struct output *output) {
    size_t left = TURN_BYTES;
    while (left > 0) {
        if (!make_room(child, output)) {
            fail(child, "limits.memory leaves no room for its output");
            return;
        }
        size_t room = output->capacity - output->len;
        ssize_t count =
            read(output->pipe.fd, output->bytes + output->len, room < left ? room : left);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN)
            return;
        if (count <= 0) {
            unwatch(&output->pipe);
            return;
        }
        output->len += (size_t)count;
        output->unread -= (size_t)count < output->unread ? (size_t)count : output->unread;
        left -= (size_t)count;
        child->had_output = true;
        if (!may_have_more(child, output))
            return;
    }
}

static void on_output(uv_poll_t *poll, int status, int events) {
    (void)status; /* read() finds out */
    (void)events;
    struct child *child = poll->data;
    bool is_first = poll == &child->output[CHILD_STDOUT].pipe.poll;
    struct output *output = &child->output[is_first ? CHILD_STDOUT : CHILD_STDERR];
    read_output(child, output);
    if (is_complete(child))
        finish(child);
    else if (output->is_taken && output->len > 0)
        notify(child);
}

static void begin_reading(struct output *output) {
    if (output->pipe.is_open && !output->is_reading)
        output->is_reading = uv_poll_start(&output->pipe.poll, UV_READABLE, on_output) == 0;
}

/* ---- input ---- */

/* Writes what the pipe takes. The process need not read all of it. */
static void on_input(uv_poll_t *poll, int status, int events) {
    (void)events;
    struct child *child = poll->data;
    ssize_t count = 0;
    while (status == 0 && child->written < child->input_len) {
        count = write(child->input_pipe.fd, child->input + child->written,
                      child->input_len - child->written);
        if (count > 0)
            child->written += (size_t)count;
        else if (errno == EAGAIN)
            return;
        else if (errno != EINTR)
            break;
    }
    free_input(child);
    unwatch(&child->input_pipe);
}

/* ---- the start ---- */

static void begin(struct child *child, const struct launched *launched) {
    child->pid = launched->pid;
    watch_exit(child);
    for (int i = 0; i < CHILD_OUTPUTS; i++) {
        watch(child, &child->output[i].pipe, launched->pipes[LAUNCH_OUTPUT + i]);
        begin_reading(&child->output[i]);
    }
    if (launched->pipes[LAUNCH_INPUT] >= 0 &&
        watch(child, &child->input_pipe, launched->pipes[LAUNCH_INPUT]))
        uv_poll_start(&child->input_pipe.poll, UV_WRITABLE, on_input);
}

/* The program does not run. */
static void fail_start(struct child *child, const char *problem) {
    note_problem(child, problem);
    finish(child);
}

static void on_launched(void *user, const struct launched *launched, const char *problem) {
    struct child *child = user;
    if (problem != NULL)
        fail_start(child, problem);
    else
        begin(child, launched);
    free_launching(child);
    if (problem == NULL && child->is_ending) {
        close_pipes(child);
        end_group(child);
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

/* Lets a thread start the program. */
static void launch(struct child *child, const struct child_options *options) {
    struct launch launch = options->launch;
    launch.has_input = options->input.bytes != NULL;
    child->launching_size = launch_size(&launch);
    void *memory = resize(child, NULL, 0, child->launching_size);
    if (memory == NULL)
        fail_start(child, "limits.memory leaves no room for its arguments");
    else
        child->launching = launch_begin(memory, child->children->loop, &launch, on_launched, child);
}

uint64_t children_start(struct children *children, const struct child_options *options,
                        uint64_t tag) {
    uv_loop_t *loop = children->loop;
    struct child *child = new_child(children);
    child->tag = tag;
    child->max_output = options->max_output;
    child->is_wanted = true;
    for (int i = 0; i < CHILD_OUTPUTS; i++)
        child->output[i].is_taken = options->is_taken[i];
    uv_timer_init(loop, opened(child, &child->deadline));
    uv_update_time(loop); /* it may be old: a hook has run since */
    if (options->timeout_ms > 0)
        uv_timer_start(&child->deadline, on_timed_out, options->timeout_ms, 0);
    if (copy_input(child, options->input))
        launch(child, options);
    else
        fail_start(child, "limits.memory leaves no room for its input");
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
    begin_reading(output);
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
