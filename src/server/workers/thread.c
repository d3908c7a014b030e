/* thread.c -- starting a thread of the process. See thread.h. */
#include "server/workers/thread.h"

#include "base/signal_mask.h"

int thread_start(uv_thread_t *thread, uv_thread_cb run, void *argument) {
    sigset_t old;
    signal_mask_thread(&old);
    int result = uv_thread_create(thread, run, argument);
    signal_mask_restore(&old);
    return result;
}
