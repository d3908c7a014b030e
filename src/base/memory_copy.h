/* memory_copy.h -- copying memory that another thread may change or release meanwhile.
 *
 * The kernel reads the bytes, as it does for write(2): of memory that is not there any more it
 * reports an error, where a load would end the process. The bytes may be those of a half-finished
 * change; the caller finds out. One thread at a time. */
#ifndef TIDEWIRE_BASE_MEMORY_COPY_H
#define TIDEWIRE_BASE_MEMORY_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False: there are no descriptors, and memory_copy() always fails. */
bool memory_copy_open(void);
void memory_copy_close(void);

/* An address that may be nonsense, so many bytes on. */
static inline const void *memory_at(const void *address, size_t offset) {
    return (const void *)((uintptr_t)address + offset);
}

/* False: not all of it is there. */
bool memory_copy(void *to, const void *from, size_t len);

#endif
