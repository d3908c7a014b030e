/* thread.c -- starting a thread of the process. See thread.h. */
#include "server/workers/thread.h"

#include "base/signal_mask.h"

int thread_start_sized(uv_thread_t *thread, uv_thread_cb run, void *argument, size_t stack) {
    sigset_t old;
    signal_mask_thread(&old);
    uv_thread_options_t options = {UV_THREAD_HAS_STACK_SIZE, stack};
    int result = uv_thread_create_ex(thread, &options, run, argument);
    signal_mask_restore(&old);
    return result;
}

int thread_start(uv_thread_t *thread, uv_thread_cb run, void *argument) {
    return thread_start_sized(thread, run, argument, 0);
}
