/* failing_malloc.c -- malloc that fails, for the program under test (LD_PRELOAD).
 *
 * FAILING_MALLOC is "LEAST ONE_IN PATH [LIBRARY]": while the file PATH exists, one in ONE_IN calls
 * that want LEAST bytes or more fails. Only calls by the program itself fail, or those by LIBRARY,
 * a part of a file's name. After a failure the next call of the thread succeeds, unless all are to
 * fail.
 *
 * FAILING_MALLOC_CALL is "NUMBER LIBRARY": this call by LIBRARY fails, from 1, and no other. */
#define _GNU_SOURCE
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);

static uintptr_t begin, end; /* of the program's code, or of the library's */
static size_t least;
static unsigned one_in, number; /* number: of the call that fails; 0: see FAILING_MALLOC */
static char path[512], library[64];
static atomic_uint calls;
static atomic_bool is_on;
static _Thread_local bool has_failed;
static _Thread_local uint32_t random_state;

static int find_code(struct dl_phdr_info *info, size_t size, void *user) {
    (void)size, (void)user;
    if (strstr(info->dlpi_name, library) == NULL)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type == PT_LOAD && (header->p_flags & PF_X) != 0) {
            begin = info->dlpi_addr + header->p_vaddr;
            end = begin + header->p_memsz;
        }
    }
    return 1; /* the program comes first, and has no name */
}

__attribute__((constructor)) static void read_settings(void) {
    const char *text = getenv("FAILING_MALLOC");
    const char *one = getenv("FAILING_MALLOC_CALL");
    if ((text != NULL && sscanf(text, "%zu %u %511s %63s", &least, &one_in, path, library) >= 3) ||
        (one != NULL && sscanf(one, "%u %63s", &number, library) == 2))
        dl_iterate_phdr(find_code, NULL);
}

static bool fails(size_t size, void *caller) {
    uintptr_t address = (uintptr_t)caller;
    if (address < begin || address >= end)
        return false;
    if (number > 0) {
        bool is_it = atomic_fetch_add(&calls, 1) + 1 == number;
        errno = is_it ? ENOMEM : errno;
        return is_it;
    }
    if (library[0] != '\0' || atomic_fetch_add(&calls, 1) % 64 == 0)
        atomic_store(&is_on, access(path, F_OK) == 0);
    if (size < least)
        return false;
    random_state = random_state * 1664525u + 1013904223u;
    has_failed =
        (!has_failed || one_in == 1) && atomic_load(&is_on) && (random_state >> 8) % one_in == 0;
    if (has_failed)
        errno = ENOMEM;
    return has_failed;
}

void *malloc(size_t size) {
    return fails(size, __builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    return fails(count * size, __builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    return fails(size, __builtin_return_address(0)) ? NULL : __libc_realloc(block, size);
}
