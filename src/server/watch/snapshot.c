/* snapshot.c -- the state of files at one moment. See snapshot.h.
 *
 * A file has changed when its inode, its size or its modification time has. This finds a save in
 * place, a file that was renamed over it, and a link or a directory in its path that leads
 * elsewhere. The time of the last status change (ctime) does not count: a second hard link, which
 * some editors make, changes it. */
#include "server/watch/snapshot.h"

#include "base/file_id.h"
#include "base/mem.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_state {
    bool exists, readable;
    bool unknown; /* differs from every other state */
    struct file_id id;
    off_t size;
    struct timespec modified;
};

struct file_entry {
    char *path;
    bool is_source;
    struct file_state state;
};

struct snapshot {
    struct file_entry *entries; /* by path */
    size_t count, capacity;
};

static struct file_state state_of(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return (struct file_state){.exists = false};
    return (struct file_state){
        .exists = true,
        .readable = access(path, R_OK) == 0,
        .id = file_id_of(&info),
        .size = info.st_size,
        .modified = info.st_mtim,
    };
}

static bool is_same(const struct file_state *a, const struct file_state *b) {
    if (a->unknown || b->unknown || a->exists != b->exists)
        return false;
    return !a->exists ||
           (a->readable == b->readable && file_id_equal(a->id, b->id) && a->size == b->size &&
            a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec);
}

/* Owns the path from now on. */
static void add(struct snapshot *snapshot, char *path, bool is_source) {
    if (snapshot->count == snapshot->capacity) {
        snapshot->capacity = snapshot->capacity * 2 + 16;
        snapshot->entries =
            mem_realloc(snapshot->entries, snapshot->capacity * sizeof *snapshot->entries);
    }
    snapshot->entries[snapshot->count++] =
        (struct file_entry){.path = path, .is_source = is_source};
}

static bool is_script(const char *name) {
    size_t len = strlen(name);
    return len > 4 && strcmp(name + len - 4, ".lua") == 0 && strchr(".#~", name[0]) == NULL;
}

/* Adds the scripts of a directory; its name ends with a slash, or is "" for the working
 * directory. */
static void add_dir(struct snapshot *snapshot, const char *dir) {
    DIR *stream = opendir(*dir == '\0' ? "." : dir);
    if (stream == NULL)
        return;
    for (const struct dirent *found; (found = readdir(stream)) != NULL;) {
        if (!is_script(found->d_name))
            continue;
        size_t size = strlen(dir) + strlen(found->d_name) + 1;
        char *path = mem_alloc(size);
        snprintf(path, size, "%s%s", dir, found->d_name);
        add(snapshot, path, false);
    }
    closedir(stream);
}

static int by_path(const void *a, const void *b) {
    const struct file_entry *one = a, *other = b;
    int result = strcmp(one->path, other->path);
    return result != 0 ? result : (int)other->is_source - (int)one->is_source;
}

/* Sorts by path, and keeps one entry of each path. */
static void sort_unique(struct snapshot *snapshot) {
    size_t kept = 0;
    if (snapshot->count > 0)
        qsort(snapshot->entries, snapshot->count, sizeof *snapshot->entries, by_path);
    for (size_t i = 0; i < snapshot->count; i++) {
        struct file_entry *entry = &snapshot->entries[i];
        if (kept > 0 && strcmp(snapshot->entries[kept - 1].path, entry->path) == 0)
            mem_free(entry->path);
        else
            snapshot->entries[kept++] = *entry;
    }
    snapshot->count = kept;
}

/* The length of the directory in a path, with its slash; 0: the path has no slash. */
static size_t dir_len(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? 0 : (size_t)(slash - path) + 1;
}

static void add_dirs(struct snapshot *snapshot) {
    const char *last = NULL;
    for (size_t i = 0, count = snapshot->count; i < count; i++) {
        const char *path = snapshot->entries[i].path;
        size_t len = dir_len(path);
        if (last == NULL || len != dir_len(last) || strncmp(path, last, len) != 0) {
            char *dir = mem_strndup(path, len);
            add_dir(snapshot, dir);
            mem_free(dir);
        }
        last = path;
    }
}

struct snapshot *snapshot_take(const char *sources) {
    struct snapshot *snapshot = mem_zalloc(sizeof *snapshot);
    for (size_t len; *sources != '\0'; sources += len + (sources[len] == '\n')) {
        len = strcspn(sources, "\n");
        if (len > 0)
            add(snapshot, mem_strndup(sources, len), true);
    }
    sort_unique(snapshot);
    add_dirs(snapshot);
    sort_unique(snapshot);
    for (size_t i = 0; i < snapshot->count; i++)
        snapshot->entries[i].state = state_of(snapshot->entries[i].path);
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

/* Moves `at` to the first entry that is not before this path. True: the entry has the path. */
static bool seek(const struct snapshot *snapshot, size_t *at, const char *path) {
    int compared = 1;
    while (*at < snapshot->count && (compared = strcmp(snapshot->entries[*at].path, path)) < 0)
        ++*at;
    return *at < snapshot->count && compared == 0;
}

void snapshot_carry_over(struct snapshot *snapshot, const struct snapshot *old, double since) {
    size_t at = 0;
    for (size_t i = 0; i < snapshot->count; i++) {
        struct file_entry *entry = &snapshot->entries[i];
        const struct timespec *modified = &entry->state.modified;
        if (old != NULL && seek(old, &at, entry->path))
            entry->state = old->entries[at].state;
        else if (entry->state.exists &&
                 (double)modified->tv_sec + (double)modified->tv_nsec / 1e9 >= since)
            entry->state.unknown = true;
    }
}

struct snapshot_diff snapshot_compare(const struct snapshot *old, const struct snapshot *newer) {
    struct snapshot_diff diff = {0};
    const char *gone = NULL;
    size_t at = 0;
    for (size_t i = 0; i < newer->count; i++) {
        const struct file_entry *entry = &newer->entries[i];
        static const struct file_state none;
        const struct file_state *before =
            seek(old, &at, entry->path) ? &old->entries[at].state : &none;
        if (is_same(before, &entry->state))
            continue;
        if (entry->state.exists) {
            diff.changed++;
            diff.file = diff.file == NULL ? entry->path : diff.file;
        } else if (entry->is_source) {
            diff.gone++;
            gone = gone == NULL ? entry->path : gone;
        }
    }
    if (diff.file == NULL)
        diff.file = gone;
    return diff;
}
