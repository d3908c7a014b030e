/* doors.c -- every listening socket of the process. See doors.h. */
#include "server/doors.h"

#include "base/mem.h"

static bool add(struct doors *doors, struct listen_set *set) {
    if (set == NULL)
        return false;
    doors->sets = mem_realloc(doors->sets, (doors->count + 1) * sizeof(struct listen_set *));
    doors->sets[doors->count++] = set;
    return true;
}

bool doors_open(struct doors *doors, const struct app *app, struct inheritance *inheritance,
                char *error, size_t error_size) {
    struct listen_how how = {.workers = app->workers, .inheritance = inheritance};
    struct inherited *inherited;
    while (!app->listen_given && (inherited = inheritance_take_any(inheritance, false)) != NULL)
        if (!add(doors, listen_adopt(inherited, &how, error, error_size)))
            return false;
    if (doors->count > 0)
        return true;
    for (size_t i = 0; i < app->listen_count; i++)
        if (!add(doors, listen_open(app->listen[i], &how, error, error_size)))
            return false;
    return true;
}

bool doors_are_inherited(const struct doors *doors) {
    for (size_t i = 0; i < doors->count; i++)
        if (listen_is_inherited(doors->sets[i]))
            return true;
    return false;
}

void doors_leave_files(struct doors *doors) {
    for (size_t i = 0; i < doors->count; i++)
        listen_leave_files(doors->sets[i]);
}

void doors_own_files(struct doors *doors) {
    for (size_t i = 0; i < doors->count; i++)
        listen_own_files(doors->sets[i]);
}

void doors_look_at_files(const struct doors *doors) {
    for (size_t i = 0; i < doors->count; i++)
        listen_look_at_files(doors->sets[i]);
}

void doors_end(struct doors *doors) {
    for (size_t i = 0; i < doors->count; i++)
        listen_end(doors->sets[i]);
    mem_free(doors->sets);
    *doors = (struct doors){0};
}
