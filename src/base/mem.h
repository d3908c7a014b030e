/* mem.h -- allocation that does not fail.
 *
 * Fixed-size allocations of a server have no sensible answer to "no memory": these abort with a
 * line that says how much was wanted. Sizes that come from outside must pass a limit before they
 * get here. Thread-safe, owns nothing. */
#ifndef TIDEWIRE_BASE_MEM_H
#define TIDEWIRE_BASE_MEM_H

#include <stddef.h>

/* `size` bytes, uninitialised. Never NULL; aborts when there is no memory. */
void *mem_alloc(size_t size);

/* `size` bytes of zeros. Never NULL. */
void *mem_zalloc(size_t size);

/* Like realloc(3); `p` may be NULL. Never NULL for size > 0. */
void *mem_realloc(void *p, size_t size);

/* A copy of a C string; the caller frees it. NULL stays NULL. */
char *mem_strdup(const char *text);

/* A copy of `len` bytes with a NUL after them; the caller frees it. */
char *mem_strndup(const char *bytes, size_t len);

/* Accepts NULL. */
void mem_free(void *p);

#endif
