/* memory_size.h -- how much memory the process may have. Owns nothing, any thread. */
#ifndef TIDEWIRE_BASE_MEMORY_SIZE_H
#define TIDEWIRE_BASE_MEMORY_SIZE_H

#include <stddef.h>

/* The smallest of these, in bytes: the machine's memory, the limits of the process's control group
 * and of those above it (memory.max), `ulimit -v` and `ulimit -d`. */
size_t memory_size(void);

#endif
