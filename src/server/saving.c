/* saving.c -- writes the state at the end of the process. See saving.h. */
#include "server/saving.h"

enum { WORKER_MS = 5000 }; /* in which a worker must begin */

static void on_late(uv_timer_t *timer);

/* Asks the next worker, or ends. */
static void advance(struct saving *saving) {
    if (saving->worker < workers_count(saving->workers)) {
        workers_begin_state(saving->workers, saving->worker, STATE_STEP_SAVE);
        uv_timer_start(&saving->timer, on_late, WORKER_MS, WORKER_MS);
        return;
    }
    uv_timer_stop(&saving->timer);
    saving->failed = !state_end_save(saving->state);
    saving->is_done = true;
}

static void on_late(uv_timer_t *timer) {
    struct saving *saving = timer->data;
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
    saving->worker = 0;
    saving->is_done = state_begin_save(saving->state) == NULL;
    if (!saving->is_done)
        advance(saving);
}

void saving_on_report(struct saving *saving) {
    if (!uv_is_active((uv_handle_t *)&saving->timer) ||
        !workers_state_is_done(saving->workers, saving->worker))
        return;
    saving->worker++;
    advance(saving);
}
