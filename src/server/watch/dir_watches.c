/* dir_watches.c -- the system's events about directories. See dir_watches.h.
 *
 * Each watched directory has a handle on the loop. The system watches the directory, not its name:
 * a directory that was moved away and made again is a different one. Hence the list is searched by
 * device and inode. */
#include "server/watch/dir_watches.h"

#include "base/file_id.h"
#include "base/log/log.h"
#include "base/mem.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Directories above this number are not watched. */
enum { MAX_WATCHES = 256 };

struct dir_watch {
    uv_fs_event_t handle;
    struct dir_watches *watches;
    struct dir_watch *next;
    struct file_id id;
    bool needed;
};

struct dir_watches {
    uv_loop_t *loop;
    void (*on_event)(void *user);
    void *user;
    struct dir_watch *list;
    size_t count;
    bool warned;
};

struct dir_watches *dir_watches_new(uv_loop_t *loop, void (*on_event)(void *user), void *user) {
    struct dir_watches *watches = mem_zalloc(sizeof *watches);
    watches->loop = loop;
    watches->on_event = on_event;
    watches->user = user;
    return watches;
}

static void on_event(uv_fs_event_t *handle, const char *file, int events, int status) {
    (void)file;
    (void)events;
    (void)status;
    const struct dir_watch *watch = handle->data;
    watch->watches->on_event(watch->watches->user);
}

static void warn(struct dir_watches *watches, int result) {
    if (watches->warned || (result != UV_ENOSPC && result != UV_EMFILE && result != UV_ENOMEM))
        return;
    watches->warned = true;
    log_eventf(
        LOG_WARN, "watch",
        "the system has no watch left (%s; the limits are sysctl fs.inotify.max_user_watches "
        "and max_user_instances): saved scripts are noticed within a second",
        uv_strerror(result));
}

static void watch_dir(struct dir_watches *watches, const char *path, const struct stat *info) {
    struct dir_watch *watch = mem_zalloc(sizeof *watch);
    watch->watches = watches;
    watch->id = file_id_of(info);
    watch->needed = true;
    watch->next = watches->list;
    watches->list = watch;
    watches->count++;
    uv_fs_event_init(watches->loop, &watch->handle);
    watch->handle.data = watch;
    int result = uv_fs_event_start(&watch->handle, on_event, path, 0);
    if (result != 0) /* it stays in the list, so that it is not started again at each renewal */
        warn(watches, result);
}

/* Marks the watch of this directory as needed, or begins one. False: there is no such directory. */
static bool need(struct dir_watches *watches, const char *path) {
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return false;
    for (struct dir_watch *watch = watches->list; watch != NULL; watch = watch->next) {
        if (file_id_equal(watch->id, file_id_of(&info))) {
            watch->needed = true;
            return true;
        }
    }
    if (watches->count < MAX_WATCHES)
        watch_dir(watches, path, &info);
    return true;
}

/* Removes the last name from the path. False: no directory is above. */
static bool go_up(char *path) {
    char *slash = strrchr(path, '/');
    if (slash == NULL) {
        bool more = strcmp(path, ".") != 0;
        strcpy(path, ".");
        return more;
    }
    if (slash[1] == '\0' && slash == path)
        return false;
    slash[slash == path ? 1 : 0] = '\0';
    return true;
}

static bool is_link(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
}

/* The watches of one file. */
static void need_all(struct dir_watches *watches, const char *file) {
    char path[PATH_MAX], *real = realpath(file, NULL);
    if (real != NULL && strlen(real) < sizeof path) {
        strcpy(path, real);
        go_up(path);
        need(watches, path);
    }
    free(real);
    if (strlen(file) + 2 > sizeof path) /* go_up() may write "." */
        return;
    strcpy(path, file);
    for (bool found = false, linked = is_link(path); go_up(path); linked = is_link(path))
        if (!found || linked)
            found = need(watches, path) || found;
}

static void on_closed(uv_handle_t *handle) {
    mem_free(handle->data);
}

/* Closes the watches that are not needed, or all. */
static void close_unneeded(struct dir_watches *watches, bool all) {
    struct dir_watch **at = &watches->list, *watch;
    while ((watch = *at) != NULL) {
        if (watch->needed && !all) {
            at = &watch->next;
            continue;
        }
        *at = watch->next;
        watches->count--;
        uv_close((uv_handle_t *)&watch->handle, on_closed);
    }
}

void dir_watches_renew(struct dir_watches *watches, const char *sources) {
    for (struct dir_watch *watch = watches->list; watch != NULL; watch = watch->next)
        watch->needed = false;
    for (size_t len; *sources != '\0'; sources += len + (sources[len] == '\n')) {
        char file[PATH_MAX];
        len = strcspn(sources, "\n");
        if (len == 0 || len >= sizeof file)
            continue;
        memcpy(file, sources, len);
        file[len] = '\0';
        need_all(watches, file);
    }
    close_unneeded(watches, false); /* after the new ones have begun: no event is missed */
}

void dir_watches_close(struct dir_watches *watches) {
    close_unneeded(watches, true);
    mem_free(watches);
}
