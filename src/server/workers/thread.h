/* thread.h -- starting a thread of the process. */
#ifndef TIDEWIRE_SERVER_WORKERS_THREAD_H
#define TIDEWIRE_SERVER_WORKERS_THREAD_H

#include <uv.h>

/* As uv_thread_create(); the thread leaves the process's signals to the main thread from its first
 * instruction on. Returns 0 or a negative uv code. */
int thread_start(uv_thread_t *thread, uv_thread_cb run, void *argument);
/* The same with so many bytes of stack; 0: as many as the system gives. */
int thread_start_sized(uv_thread_t *thread, uv_thread_cb run, void *argument, size_t stack);

#endif
