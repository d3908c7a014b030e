/* mem.h -- allocation that does not fail.
 *
 * A server can do nothing useful when a small allocation fails, so these functions abort then, with
 * a line that says the size. Callers compare sizes from outside with a limit first. Any thread;
 * owns nothing. */
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
