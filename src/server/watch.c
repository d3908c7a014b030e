/* watch.c -- sees that a script was saved. See watch.h.
 *
 * Each folder has a handle of the loop's. They are made anew after each reload: a folder that was moved away and
 * made again is another one for the kernel. */
#include "server/watch.h"

#include "base/log.h"
#include "base/mem.h"

#include <string.h>

/* So long after the last change: editors and `git checkout` make several in a row. */
enum { QUIET_MS = 100 };

struct folder {
    uv_fs_event_t handle;
    struct watch *watch;
    struct folder *next;
    char path[];
};

struct watch {
    uv_loop_t *loop;
    void (*on_change)(void *user);
    void *user;
    const char *name;
    struct folder *folders;
    uv_timer_t quiet;
};

static void on_quiet(uv_timer_t *timer) {
    struct watch *watch = timer->data;
    watch->on_change(watch->user);
}

static bool ends_with(const char *text, const char *end) {
    size_t len = strlen(text), end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static void on_event(uv_fs_event_t *handle, const char *file, int events, int status) {
    (void)events;
    struct folder *folder = handle->data;
    struct watch *watch = folder->watch;
    if (status != 0 || (file != NULL && !ends_with(file, ".lua") && strcmp(file, watch->name) != 0))
        return;
    uv_timer_start(&watch->quiet, on_quiet, QUIET_MS, 0);
}

struct watch *watch_new(uv_loop_t *loop, const char *name, void (*on_change)(void *user),
                        void *user) {
    struct watch *watch = mem_zalloc(sizeof *watch);
    const char *slash = strrchr(name, '/');
    watch->loop = loop;
    watch->on_change = on_change;
    watch->user = user;
    watch->name = slash == NULL ? name : slash + 1;
    uv_timer_init(loop, &watch->quiet);
    watch->quiet.data = watch;
    return watch;
}

static void on_folder_closed(uv_handle_t *handle) {
    mem_free(handle->data);
}

static void close_folders(struct folder *folder) {
    for (struct folder *next; folder != NULL; folder = next) {
        next = folder->next;
        uv_close((uv_handle_t *)&folder->handle, on_folder_closed);
    }
}

static void add_folder(struct watch *watch, const char *path, size_t len) {
    struct folder *folder = mem_zalloc(sizeof *folder + len + 1);
    memcpy(folder->path, path, len);
    folder->watch = watch;
    folder->next = watch->folders;
    watch->folders = folder;
    uv_fs_event_init(watch->loop, &folder->handle);
    folder->handle.data = folder;
    int result = uv_fs_event_start(&folder->handle, on_event, folder->path, 0);
    if (result != 0)
        log_eventf(LOG_WARN, "watch", "%s cannot be watched: %s", folder->path,
                   uv_strerror(result));
}

void watch_folders(struct watch *watch, const char *folders) {
    struct folder *old = watch->folders;
    watch->folders = NULL;
    for (size_t len; *folders != '\0'; folders += len + (folders[len] == '\n')) {
        len = strcspn(folders, "\n");
        if (len > 0)
            add_folder(watch, folders, len);
    }
    close_folders(old); /* after the new ones are there: nothing is missed */
}

static void on_timer_closed(uv_handle_t *handle) {
    mem_free(handle->data);
}

void watch_close(struct watch *watch) {
    if (watch == NULL)
        return;
    close_folders(watch->folders);
    uv_close((uv_handle_t *)&watch->quiet, on_timer_closed);
}
