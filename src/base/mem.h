/* mem.h -- allocation that does not fail.
 *
 * A server can do nothing useful when a small allocation fails, so these functions do not: they use
 * a reserve, and the process gives up work until the reserve is there again (mem_is_low). Where
 * that is used up as well they abort, with a line that says the size. Callers compare sizes from
 * outside with a limit first, and ask mem_has() for large ones. Any thread. */
#ifndef TIDEWIRE_BASE_MEM_H
#define TIDEWIRE_BASE_MEM_H

#include <stdbool.h>
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

/* Two C strings in one; the caller frees it. */
char *mem_concat(const char *first, const char *second);

/* Accepts NULL. */
void mem_free(void *p);

/* ---- when malloc fails ---- */

/* Is there memory for a block whose size a client or a script decides? True without asking for
 * small ones, for which there is the reserve. The answer may be outdated at once, so a later
 * mem_alloc() of the size may use the reserve. */
static inline bool mem_has(size_t size);

/* Is the reserve in use? Then new connections are refused, until mem_restore(). */
bool mem_is_low(void);
/* Gets the reserve again, if it is in use and there is memory. Returns whether this call did. */
bool mem_restore(void);

/* At the start of the process; kept until its end. Without it the functions above abort when malloc
 * fails. */
void mem_open_reserve(void);

/* ---- private ---- */

enum { MEM_ALWAYS_THERE = 4 * 1024 };
bool mem_has_large(size_t size);

static inline bool mem_has(size_t size) {
    return size <= MEM_ALWAYS_THERE || mem_has_large(size);
}

#endif
