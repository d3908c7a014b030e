/* snapshot.c -- how files were at one moment. See snapshot.h.
 *
 * A file is another one when its number, its size or its time of writing is: so a save in place, a
 * file renamed over it and a link or a folder above it that leads elsewhere are all seen. Its time
 * of change is not looked at: an editor that makes a second name for it changes that. */
#include "server/watch/snapshot.h"

#include "base/mem.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct mark {
    bool exists, readable;
    bool unknown; /* differs from every other */
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec written;
};

struct entry {
    char *path;
    bool is_source;
    struct mark mark;
};

struct snapshot {
    struct entry *entries; /* by path */
    size_t count, capacity;
};

static struct mark mark_of(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return (struct mark){.exists = false};
    return (struct mark){
        .exists = true,
        .readable = access(path, R_OK) == 0,
        .device = info.st_dev,
        .inode = info.st_ino,
        .size = info.st_size,
        .written = info.st_mtim,
    };
}

static bool is_same(const struct mark *a, const struct mark *b) {
    if (a->unknown || b->unknown || a->exists != b->exists)
        return false;
    return !a->exists ||
           (a->readable == b->readable && a->device == b->device && a->inode == b->inode &&
            a->size == b->size && a->written.tv_sec == b->written.tv_sec &&
            a->written.tv_nsec == b->written.tv_nsec);
}

/* Takes the path over. */
static void add(struct snapshot *snapshot, char *path, bool is_source) {
    if (snapshot->count == snapshot->capacity) {
        snapshot->capacity = snapshot->capacity * 2 + 16;
        snapshot->entries =
            mem_realloc(snapshot->entries, snapshot->capacity * sizeof *snapshot->entries);
    }
    snapshot->entries[snapshot->count++] = (struct entry){.path = path, .is_source = is_source};
}

static bool is_script(const char *name) {
    size_t len = strlen(name);
    return len > 4 && strcmp(name + len - 4, ".lua") == 0 && strchr(".#~", name[0]) == NULL;
}

/* The scripts in a folder, whose name ends with a slash or is empty: the one we are in. */
static void add_folder(struct snapshot *snapshot, const char *folder) {
    DIR *dir = opendir(*folder == '\0' ? "." : folder);
    if (dir == NULL)
        return;
    for (const struct dirent *found; (found = readdir(dir)) != NULL;) {
        if (!is_script(found->d_name))
            continue;
        size_t size = strlen(folder) + strlen(found->d_name) + 1;
        char *path = mem_alloc(size);
        snprintf(path, size, "%s%s", folder, found->d_name);
        add(snapshot, path, false);
    }
    closedir(dir);
}

static int by_path(const void *a, const void *b) {
    const struct entry *one = a, *other = b;
    int order = strcmp(one->path, other->path);
    return order != 0 ? order : (int)other->is_source - (int)one->is_source;
}

/* Sorts, and keeps one of each path. */
static void settle(struct snapshot *snapshot) {
    size_t kept = 0;
    if (snapshot->count > 0)
        qsort(snapshot->entries, snapshot->count, sizeof *snapshot->entries, by_path);
    for (size_t i = 0; i < snapshot->count; i++) {
        struct entry *entry = &snapshot->entries[i];
        if (kept > 0 && strcmp(snapshot->entries[kept - 1].path, entry->path) == 0)
            mem_free(entry->path);
        else
            snapshot->entries[kept++] = *entry;
    }
    snapshot->count = kept;
}

/* The folder of a path with its slash; of a path without one it is "". */
static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    char *folder = mem_alloc(len + 1);
    memcpy(folder, path, len);
    folder[len] = '\0';
    return folder;
}

static void add_folders(struct snapshot *snapshot) {
    char *last = NULL;
    for (size_t i = 0, count = snapshot->count; i < count; i++) {
        char *folder = folder_of(snapshot->entries[i].path);
        if (last != NULL && strcmp(folder, last) == 0) {
            mem_free(folder);
            continue;
        }
        add_folder(snapshot, folder);
        mem_free(last);
        last = folder;
    }
    mem_free(last);
}

struct snapshot *snapshot_take(const char *sources) {
    struct snapshot *snapshot = mem_zalloc(sizeof *snapshot);
    for (size_t len; *sources != '\0'; sources += len + (sources[len] == '\n')) {
        len = strcspn(sources, "\n");
        char *path = mem_alloc(len + 1);
        memcpy(path, sources, len);
        path[len] = '\0';
        if (len > 0)
            add(snapshot, path, true);
        else
            mem_free(path);
    }
    settle(snapshot);
    add_folders(snapshot);
    settle(snapshot);
    for (size_t i = 0; i < snapshot->count; i++)
        snapshot->entries[i].mark = mark_of(snapshot->entries[i].path);
    return snapshot;
}

void snapshot_free(struct snapshot *snapshot) {
    if (snapshot == NULL)
        return;
    for (size_t i = 0; i < snapshot->count; i++)
        mem_free(snapshot->entries[i].path);
    mem_free(snapshot->entries);
    mem_free(snapshot);
}

/* Moves `at` to the first entry that is not before this path. True: it is there. */
static bool seek(const struct snapshot *snapshot, size_t *at, const char *path) {
    int order = 1;
    while (*at < snapshot->count && (order = strcmp(snapshot->entries[*at].path, path)) < 0)
        ++*at;
    return *at < snapshot->count && order == 0;
}

void snapshot_inherit(struct snapshot *snapshot, const struct snapshot *old, double since) {
    size_t at = 0;
    for (size_t i = 0; i < snapshot->count; i++) {
        struct entry *entry = &snapshot->entries[i];
        const struct timespec *written = &entry->mark.written;
        if (old != NULL && seek(old, &at, entry->path))
            entry->mark = old->entries[at].mark;
        else if (entry->mark.exists &&
                 (double)written->tv_sec + (double)written->tv_nsec / 1e9 >= since)
            entry->mark.unknown = true;
    }
}

struct difference snapshot_compare(const struct snapshot *old, const struct snapshot *newer) {
    struct difference difference = {0};
    const char *gone = NULL;
    size_t at = 0;
    for (size_t i = 0; i < newer->count; i++) {
        const struct entry *entry = &newer->entries[i];
        static const struct mark none;
        const struct mark *before = seek(old, &at, entry->path) ? &old->entries[at].mark : &none;
        if (is_same(before, &entry->mark))
            continue;
        if (entry->mark.exists) {
            difference.changed++;
            difference.file = difference.file == NULL ? entry->path : difference.file;
        } else if (entry->is_source) {
            difference.gone++;
            gone = gone == NULL ? entry->path : gone;
        }
    }
    if (difference.file == NULL)
        difference.file = gone;
    return difference;
}
