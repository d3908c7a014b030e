/* activation.c -- sockets that systemd has opened for us. See activation.h. */
#include "server/activation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_FD = 3, MOST_FDS = 1024 };

/* A whole number, or -1. */
static long number_of(const char *text) {
    char *end;
    long number = strtol(text, &end, 10);
    return end == text || *end != '\0' ? -1 : number;
}

/* The next name of a list with colons between; "" where it has no more. */
static void next_name(const char **names, char *name, size_t size) {
    size_t len = strcspn(*names, ":");
    snprintf(name, size, "%.*s", (int)len, *names);
    *names += len;
    if (**names == ':')
        ++*names;
}

static bool take_all(struct inheritance *inheritance, long count, const char *names, char *error,
                     size_t error_size) {
    bool good = true;
    for (long i = 0; i < count; i++) {
        char name[256];
        next_name(&names, name, sizeof name);
        struct inherited_facts facts = {.for_admin = strcmp(name, "admin") == 0};
        const char *why = inheritance_add(inheritance, (int)(FIRST_FD + i), &facts);
        if (why != NULL && good)
            snprintf(error, error_size, "LISTEN_FDS: descriptor %ld%s%s cannot be listened on: %s",
                     FIRST_FD + i, name[0] == '\0' ? "" : ", ", name, why);
        good = good && why == NULL;
    }
    return good;
}

bool activation_take(struct inheritance *inheritance, char *error, size_t error_size) {
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS"),
               *names = getenv("LISTEN_FDNAMES");
    bool good = true;
    if (pid != NULL && fds != NULL && number_of(pid) == (long)getpid()) {
        long count = number_of(fds);
        if (count < 0 || count > MOST_FDS) {
            snprintf(error, error_size, "LISTEN_FDS: expected a number of descriptors, got \"%s\"",
                     fds);
            good = false;
        } else {
            good = take_all(inheritance, count, names == NULL ? "" : names, error, error_size);
        }
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_PIDFDID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return good;
}
