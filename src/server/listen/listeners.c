/* listeners.c -- the sockets that the server listens on. See listeners.h. */
#include "server/listen/listeners.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- systemd's ---- */

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

static bool take_all(struct passed_fds *passed, long count, const char *names, char *error,
                     size_t error_size) {
    bool good = true;
    for (long i = 0; i < count; i++) {
        char name[256];
        next_name(&names, name, sizeof name);
        struct passed_facts facts = {.for_admin = strcmp(name, "admin") == 0};
        const char *why = passed_fds_add(passed, (int)(FIRST_FD + i), &facts);
        if (why != NULL && good)
            snprintf(error, error_size, "LISTEN_FDS: descriptor %ld%s%s cannot be listened on: %s",
                     FIRST_FD + i, name[0] == '\0' ? "" : ", ", name, why);
        good = good && why == NULL;
    }
    return good;
}

bool listeners_from_systemd(struct passed_fds *passed, char *error, size_t error_size) {
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
            good = take_all(passed, count, names == NULL ? "" : names, error, error_size);
        }
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_PIDFDID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return good;
}

/* ---- opening ---- */

static bool add(struct listeners *listeners, struct listen_set *set) {
    if (set == NULL)
        return false;
    listeners->sets =
        mem_realloc(listeners->sets, (listeners->count + 1) * sizeof(struct listen_set *));
    listeners->sets[listeners->count++] = set;
    return true;
}

static bool open_admin(struct listeners *listeners, const char *address, struct passed_fds *passed,
                       char *error, size_t error_size) {
    struct listen_options how = {.for_admin = true, .workers = 1, .passed = passed};
    struct passed_address *found;
    if (address != NULL)
        listeners->admin = listen_open(address, &how, error, error_size);
    else if ((found = passed_fds_take_any(passed, true)) != NULL)
        listeners->admin = listen_adopt(found, &how, error, error_size);
    else
        return true;
    return listeners->admin != NULL;
}

static bool open_app(struct listeners *listeners, const struct app *app, struct passed_fds *passed,
                     char *error, size_t error_size) {
    struct listen_options how = {.workers = app->workers, .passed = passed};
    struct passed_address *found;
    while (!app->listen_given && (found = passed_fds_take_any(passed, false)) != NULL)
        if (!add(listeners, listen_adopt(found, &how, error, error_size)))
            return false;
    if (listeners->count > 0)
        return true;
    for (size_t i = 0; i < app->listen_count; i++)
        if (!add(listeners, listen_open(app->listen[i], &how, error, error_size)))
            return false;
    return true;
}

/* The admin address first: without a listen address the app gets all passed sockets that are
 * left. */
bool listeners_open(struct listeners *listeners, const struct app *app, struct passed_fds *passed,
                    char *error, size_t error_size) {
    return open_admin(listeners, app->admin, passed, error, error_size) &&
           open_app(listeners, app, passed, error, error_size);
}

/* ---- all of them ---- */

struct listen_set *listeners_at(const struct listeners *listeners, size_t number) {
    if (number < listeners->count)
        return listeners->sets[number];
    return number == listeners->count ? listeners->admin : NULL;
}

bool listeners_are_passed(const struct listeners *listeners) {
    for (size_t i = 0; i < listeners->count; i++)
        if (listen_is_passed(listeners->sets[i]))
            return true;
    return false;
}

void listeners_leave_files(struct listeners *listeners) {
    struct listen_set *set;
    for (size_t i = 0; (set = listeners_at(listeners, i)) != NULL; i++)
        listen_leave_files(set);
}

void listeners_own_files(struct listeners *listeners) {
    struct listen_set *set;
    for (size_t i = 0; (set = listeners_at(listeners, i)) != NULL; i++)
        listen_own_files(set);
}

void listeners_check_files(const struct listeners *listeners) {
    for (size_t i = 0; i < listeners->count; i++)
        listen_check_files(listeners->sets[i]);
}

void listeners_close_app(struct listeners *listeners) {
    for (size_t i = 0; i < listeners->count; i++)
        listen_close(listeners->sets[i]);
    mem_free(listeners->sets);
    listeners->sets = NULL;
    listeners->count = 0;
}

void listeners_close(struct listeners *listeners) {
    listeners_close_app(listeners);
    listen_close(listeners->admin);
    listeners->admin = NULL;
}
