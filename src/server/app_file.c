/* app_file.c -- the path by which the app's file is loaded. See app_file.h.
 *
 * `cd /srv/app/current && tidewire app.lua` means the release to which "current" points when the
 * app is loaded. The kernel's working directory stays the one to which the link pointed at the
 * start, also when the link is moved or the release deleted. The shell passes the typed path in PWD
 * (POSIX, "cd"); it is used only while it leads to the working directory. */
#include "server/app_file.h"

#include "base/file_id.h"
#include "base/log/log.h"
#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Is it a path of the working directory, other than the kernel's? */
static bool is_link_to_here(const char *path) {
    char here[PATH_MAX];
    struct stat one, other;
    return path != NULL && path[0] == '/' && getcwd(here, sizeof here) != NULL &&
           strcmp(path, here) != 0 && stat(path, &one) == 0 && stat(".", &other) == 0 &&
           file_id_equal(file_id_of(&one), file_id_of(&other));
}

char *app_file_name(const char *file) {
    const char *folder = getenv("PWD");
    if (file[0] == '/' || !is_link_to_here(folder))
        return mem_strdup(file);
    size_t size = strlen(folder) + strlen(file) + 2;
    char *name = mem_alloc(size);
    snprintf(name, size, "%s/%s", folder, file);
    return name;
}

void app_file_check(const char *file) {
    char here[PATH_MAX];
    if (file[0] != '/' && getcwd(here, sizeof here) == NULL && errno == ENOENT)
        log_eventf(LOG_WARN, "lost_file",
                   "the folder in which the program was started was deleted, and %s with it: start "
                   "the program with the whole path of its file",
                   file);
}
