/* folders.c -- the system's events about folders. See folders.h.
 *
 * Each folder has a handle of the loop's. It belongs to the folder and not to its name: one that
 * was moved away and made again is another one, so they are known by device and inode. */
#include "server/watch/folders.h"

#include "base/log/log.h"
#include "base/mem.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* More are not listened to. */
enum { MOST_FOLDERS = 256 };

struct folder {
    uv_fs_event_t handle;
    struct folders *folders;
    struct folder *next;
    dev_t device;
    ino_t inode;
    bool wanted;
};

struct folders {
    uv_loop_t *loop;
    void (*on_event)(void *user);
    void *user;
    struct folder *list;
    size_t count;
    bool warned;
};

struct folders *folders_new(uv_loop_t *loop, void (*on_event)(void *user), void *user) {
    struct folders *folders = mem_zalloc(sizeof *folders);
    folders->loop = loop;
    folders->on_event = on_event;
    folders->user = user;
    return folders;
}

static void on_event(uv_fs_event_t *handle, const char *file, int events, int status) {
    (void)file;
    (void)events;
    (void)status;
    const struct folder *folder = handle->data;
    folder->folders->on_event(folder->folders->user);
}

static void warn(struct folders *folders, int result) {
    if (folders->warned || (result != UV_ENOSPC && result != UV_EMFILE && result != UV_ENOMEM))
        return;
    folders->warned = true;
    log_eventf(LOG_WARN, "watch",
               "the system has no watch left (%s; sysctl fs.inotify.max_user_watches and "
               "max_user_instances say how many there may be): saved scripts are noticed a second "
               "later, by looking at them",
               uv_strerror(result));
}

static void begin(struct folders *folders, const char *path, const struct stat *info) {
    struct folder *folder = mem_zalloc(sizeof *folder);
    folder->folders = folders;
    folder->device = info->st_dev;
    folder->inode = info->st_ino;
    folder->wanted = true;
    folder->next = folders->list;
    folders->list = folder;
    folders->count++;
    uv_fs_event_init(folders->loop, &folder->handle);
    folder->handle.data = folder;
    int result = uv_fs_event_start(&folder->handle, on_event, path, 0);
    if (result != 0) /* it stays in the list, so that it is not tried each time */
        warn(folders, result);
}

/* False: there is no such folder. */
static bool want(struct folders *folders, const char *path) {
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return false;
    for (struct folder *folder = folders->list; folder != NULL; folder = folder->next) {
        if (folder->device == info.st_dev && folder->inode == info.st_ino) {
            folder->wanted = true;
            return true;
        }
    }
    if (folders->count < MOST_FOLDERS)
        begin(folders, path, &info);
    return true;
}

/* Cuts the last name off. False: there is nothing above. */
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

/* Of one file. */
static void want_all(struct folders *folders, const char *file) {
    char path[PATH_MAX], *real = realpath(file, NULL);
    if (real != NULL && strlen(real) < sizeof path) {
        strcpy(path, real);
        go_up(path);
        want(folders, path);
    }
    free(real);
    if (strlen(file) + 2 > sizeof path) /* go_up() may write "." */
        return;
    strcpy(path, file);
    for (bool found = false, linked = is_link(path); go_up(path); linked = is_link(path))
        if (!found || linked)
            found = want(folders, path) || found;
}

static void on_closed(uv_handle_t *handle) {
    mem_free(handle->data);
}

/* Ends those that nobody wants, or all. */
static void end_unwanted(struct folders *folders, bool all) {
    struct folder **at = &folders->list, *folder;
    while ((folder = *at) != NULL) {
        if (folder->wanted && !all) {
            at = &folder->next;
            continue;
        }
        *at = folder->next;
        folders->count--;
        uv_close((uv_handle_t *)&folder->handle, on_closed);
    }
}

void folders_renew(struct folders *folders, const char *sources) {
    for (struct folder *folder = folders->list; folder != NULL; folder = folder->next)
        folder->wanted = false;
    for (size_t len; *sources != '\0'; sources += len + (sources[len] == '\n')) {
        char file[PATH_MAX];
        len = strcspn(sources, "\n");
        if (len == 0 || len >= sizeof file)
            continue;
        memcpy(file, sources, len);
        file[len] = '\0';
        want_all(folders, file);
    }
    end_unwanted(folders, false); /* after the new ones are there: nothing is missed */
}

void folders_close(struct folders *folders) {
    end_unwanted(folders, true);
    mem_free(folders);
}
