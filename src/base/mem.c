/* mem.c -- allocation that does not fail. See mem.h. */
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *p, size_t size) {
    if (p == NULL && size != 0) {
        fprintf(stderr, "tidewire: out of memory (wanted %zu bytes)\n", size);
        abort();
    }
    return p;
}

void *mem_alloc(size_t size) {
    return checked(malloc(size), size);
}

void *mem_zalloc(size_t size) {
    return checked(calloc(1, size), size);
}

void *mem_realloc(void *p, size_t size) {
    return checked(realloc(p, size), size);
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

void mem_free(void *p) {
    free(p);
}
