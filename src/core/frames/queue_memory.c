/* queue_memory.c -- the memory of what waits to be sent. See queue_memory.h. */
#include "core/frames/queue_memory.h"

_Thread_local struct queue_memory *queue_memory_of_thread;

void queue_memory_begin(struct queue_memory *memory) {
    queue_memory_of_thread = memory;
}

bool queue_memory_is_full(void) {
    struct queue_memory *memory = queue_memory_of_thread;
    if (memory == NULL)
        return false;
    if (memory->over)
        memory->look(memory->user);
    return memory->full;
}
