/* mem.c -- allocation that does not fail. See mem.h. */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The reserve: the system gives its pages only when they are written, so it costs none. Larger than
 * what the process allocates between two looks at mem_is_low(). */
enum { RESERVE_BYTES = 8 * 1024 * 1024 };

/* mem_has() does not try to get blocks up to this size, unless memory is low. */
enum { USUALLY_THERE = 256 * 1024 };

static _Atomic(void *) reserve;
static atomic_bool is_low;

/* ---- the reserve ---- */

void mem_open_reserve(void) {
    atomic_store(&reserve, malloc(RESERVE_BYTES));
}

/* False: it is in use already. */
static bool use_reserve(void) {
    void *block = atomic_exchange(&reserve, NULL);
    if (block == NULL)
        return false;
    atomic_store(&is_low, true);
    free(block);
    return true;
}

bool mem_is_low(void) {
    return atomic_load_explicit(&is_low, memory_order_relaxed);
}

bool mem_restore(void) {
    void *block = malloc(RESERVE_BYTES), *none = NULL;
    if (block == NULL)
        return false;
    if (!atomic_compare_exchange_strong(&reserve, &none, block)) {
        free(block); /* another thread was faster */
        return false;
    }
    atomic_store(&is_low, false);
    return true;
}

/* No machine has so much, and a sanitizer's malloc ends the program that asks. */
static const size_t too_large = (size_t)1 << 40;

bool mem_has_large(size_t size) {
    if (size <= USUALLY_THERE && !mem_is_low())
        return true;
    void *block = size >= too_large ? NULL : malloc(size);
    free(block);
    return block != NULL;
}

/* ---- blocks ---- */

static _Noreturn void fail(size_t size) {
    fprintf(stderr, "tidewire: out of memory (wanted %zu bytes)\n", size);
    abort();
}

/* Malloc has failed. */
static __attribute__((noinline)) void *try_again(void *p, size_t size) {
    void *block = NULL;
    /* another thread may have freed the reserve, so that there is memory without this one */
    while ((block = realloc(p, size)) == NULL && use_reserve())
        ;
    if (block == NULL)
        fail(size);
    return block;
}

void *mem_alloc(size_t size) {
    void *p = malloc(size);
    return p == NULL && size != 0 ? try_again(NULL, size) : p;
}

void *mem_zalloc(size_t size) {
    void *p = calloc(1, size);
    return p == NULL && size != 0 ? memset(try_again(NULL, size), 0, size) : p;
}

void *mem_realloc(void *p, size_t size) {
    void *other = realloc(p, size);
    return other == NULL && size != 0 ? try_again(p, size) : other;
}

char *mem_strdup(const char *text) {
    return text == NULL ? NULL : mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *bytes, size_t len) {
    char *copy = mem_alloc(len + 1);
    memcpy(copy, bytes, len);
    copy[len] = '\0';
    return copy;
}

char *mem_concat(const char *first, const char *second) {
    size_t len = strlen(first), size = strlen(second) + 1;
    char *both = mem_alloc(len + size);
    memcpy(both, first, len);
    memcpy(both + len, second, size);
    return both;
}

void mem_free(void *p) {
    free(p);
}
