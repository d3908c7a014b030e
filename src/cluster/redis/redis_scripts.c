/* redis_scripts.c -- the scripts that Redis runs. See redis_scripts.h. */
#include "cluster/redis/redis_scripts.h"

#include "base/embedded_file.h"

/* The build writes it. */
extern const struct embedded_file embedded_scripts[];

static const char *const names[REDIS_SCRIPTS] = {
    [REDIS_SCRIPT_PUBLISH] = "publish", [REDIS_SCRIPT_READ] = "read",
    [REDIS_SCRIPT_TOPS] = "tops",       [REDIS_SCRIPT_FLOOR] = "floor",
    [REDIS_SCRIPT_MEMBERS] = "members", [REDIS_SCRIPT_LEASE] = "lease",
    [REDIS_SCRIPT_SWEEP] = "sweep",     [REDIS_SCRIPT_SHARED] = "shared",
    [REDIS_SCRIPT_SESSION] = "session",
};

const char *redis_scripts_name(enum redis_script script) {
    return names[script];
}

struct slice redis_scripts_text(enum redis_script script) {
    size_t len = strlen(names[script]);
    for (const struct embedded_file *file = embedded_scripts; file->name != NULL; file++)
        if (strncmp(file->name, names[script], len) == 0 && strcmp(file->name + len, ".lua") == 0)
            return (struct slice){(const char *)file->bytes, file->size};
    return (struct slice){"", 0};
}
