/* saving.c -- writes the state. See saving.h. */
#include "server/saving.h"

#include <unistd.h>

enum {
    WORKER_MS = 5000, /* in which a worker must begin */
    REST_MS = 3000,   /* in which hooks of sessions may end before the next process takes them */
    ASK_MS = 20,      /* between two questions whether they have */
    LOCK_MS = 50,     /* between two tries to get the state file back */
    LOCK_TRIES = 100
};

static void on_timer(uv_timer_t *timer);

/* Asks all workers. */
static void ask_all(struct saving *saving, enum state_step step) {
    for (unsigned i = 0; i < workers_count(saving->workers); i++)
        workers_begin_state(saving->workers, i, step);
}

/* Have all done what they were asked? */
static bool all_are_done(const struct saving *saving) {
    for (unsigned i = 0; i < workers_count(saving->workers); i++)
        if (!workers_state_is_done(saving->workers, i))
            return false;
    return true;
}

/* The next process has failed, and may not have ended yet: then the timer tries again. */
static void take_file(struct saving *saving) {
    saving->tries--;
    if (!state_take_back(saving->state, saving->tries == 0) && saving->tries > 0)
        uv_timer_start(&saving->timer, on_timer, LOCK_MS, 0);
}

/* The sessions and the file are this process's again. */
static void take_back(struct saving *saving) {
    saving->is_taken_back = false;
    saving->phase = SAVING_IDLE;
    saving->tries = LOCK_TRIES;
    ask_all(saving, STATE_STEP_ATTACH);
    take_file(saving);
}

static void end(struct saving *saving) {
    uv_timer_stop(&saving->timer);
    saving->phase = SAVING_IDLE;
    saving->is_done = true;
    if (saving->is_taken_back) {
        int fd = state_end_pass(saving->state);
        if (fd >= 0)
            close(fd);
        take_back(saving);
        if (saving->is_asked_again)
            saving_pass(saving, saving->on_passed, saving->user);
    } else if (saving->on_passed != NULL)
        saving->on_passed(saving->user, state_end_pass(saving->state));
    else
        saving->failed = !state_end_save(saving->state);
}

/* Asks the next worker, or ends. */
static void advance(struct saving *saving) {
    if (saving->worker == workers_count(saving->workers)) {
        end(saving);
        return;
    }
    workers_begin_state(saving->workers, saving->worker, STATE_STEP_SAVE);
    uv_timer_start(&saving->timer, on_timer, WORKER_MS, WORKER_MS);
}

/* Begins to write. */
static void write_all(struct saving *saving) {
    saving->worker = 0;
    saving->phase = SAVING_WRITING;
    if (state_begin_save(saving->state)) {
        advance(saving);
        return;
    }
    saving->phase = SAVING_IDLE;
    saving->is_done = true;
    if (saving->on_passed != NULL)
        saving->on_passed(saving->user, -1);
}

/* Begins to write when the sessions rest, or when they have had the time to. */
static void check_rest(struct saving *saving) {
    if (workers_sessions_rest(saving->workers) ||
        uv_now(saving->timer.loop) >= saving->deadline_ms) {
        for (unsigned i = 0; i < workers_count(saving->workers); i++)
            workers_withdraw_state(saving->workers, i);
        write_all(saving);
    } else if (all_are_done(saving)) {
        ask_all(saving, STATE_STEP_DETACH); /* again, to see whether they rest */
    }
}

static void on_timer(uv_timer_t *timer) {
    struct saving *saving = timer->data;
    if (saving->phase == SAVING_IDLE) {
        take_file(saving);
        return;
    }
    if (saving->phase == SAVING_DETACHING) {
        check_rest(saving);
        return;
    }
    if (!workers_withdraw_state(saving->workers, saving->worker))
        return; /* it writes */
    state_miss_worker(saving->state, saving->worker++);
    advance(saving);
}

void saving_init(struct saving *saving, uv_loop_t *loop, struct workers *workers,
                 struct state *state) {
    *saving = (struct saving){.workers = workers, .state = state};
    uv_timer_init(loop, &saving->timer);
    saving->timer.data = saving;
}

void saving_close(struct saving *saving) {
    uv_close((uv_handle_t *)&saving->timer, NULL);
}

void saving_begin(struct saving *saving) {
    saving->on_passed = NULL;
    saving->is_done = false;
    write_all(saving);
}

void saving_pass(struct saving *saving, void (*on_passed)(void *user, int fd), void *user) {
    saving->on_passed = on_passed;
    saving->user = user;
    saving->is_asked_again = saving->phase == SAVING_WRITING;
    if (saving->is_asked_again) /* for a process that has failed */
        return;
    saving->is_done = false;
    saving->phase = SAVING_DETACHING;
    saving->deadline_ms = uv_now(saving->timer.loop) + REST_MS;
    ask_all(saving, STATE_STEP_DETACH);
    uv_timer_start(&saving->timer, on_timer, ASK_MS, ASK_MS);
}

void saving_take_back(struct saving *saving) {
    if (saving->phase == SAVING_WRITING) {
        saving->is_taken_back = true; /* a worker may be writing */
        saving->is_asked_again = false;
        return;
    }
    uv_timer_stop(&saving->timer);
    take_back(saving);
}

void saving_on_report(struct saving *saving) {
    if (saving->phase != SAVING_WRITING || !workers_state_is_done(saving->workers, saving->worker))
        return;
    saving->worker++;
    advance(saving);
}
