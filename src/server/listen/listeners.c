/* listeners.c -- the sockets that the server listens on. See listeners.h. */
#include "server/listen/listeners.h"

#include "base/mem.h"
#include "script/vm/library.h"

/* ---- opening ---- */

static void find_owner(const char *address, char *text, size_t size) {
    library_call("tidewire.cli.port_owner", address, NULL, text, size);
}

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
    struct listen_options how = {
        .for_admin = true, .workers = 1, .passed = passed, .find_owner = find_owner};
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
    struct listen_options how = {
        .workers = app->workers, .passed = passed, .find_owner = find_owner};
    struct passed_address *found;
    while (!app->listen_given && (found = passed_fds_take_any(passed, false)) != NULL)
        if (!add(listeners, listen_adopt(found, &how, error, error_size)))
            return false;
    if (listeners->count > 0)
        return true;
    for (size_t i = 0; i < app->listen.count; i++)
        if (!add(listeners, listen_open(app->listen.at[i], &how, error, error_size)))
            return false;
    return true;
}

/* The admin address comes first: without a listen address the app gets all other passed
 * sockets. */
bool listeners_open(struct listeners *listeners, const struct app *app, struct passed_fds *passed,
                    char *error, size_t error_size) {
    return open_admin(listeners, app->admin, passed, error, error_size) &&
           open_app(listeners, app, passed, error, error_size);
}

/* ---- all sets ---- */

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
