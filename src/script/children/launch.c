/* launch.c -- starts a program in a process of its own. See launch.h.
 *
 * By posix_spawn(), which does not copy the tables of this process's memory as fork() does: with
 * much memory that would hold up the worker. */
#include "script/children/launch.h"

#include "base/descriptors.h"
#include "base/mem.h"
#include "base/signal_mask.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* As that of execvp(3), without the current folder. */
static const char default_path[] = "/usr/local/bin:/usr/bin:/bin";

/* ---- the program's file ---- */

static bool is_program(const char *file) {
    struct stat info;
    return stat(file, &info) == 0 && S_ISREG(info.st_mode) && access(file, X_OK) == 0;
}

static const char *path_of(char *const *environment) {
    for (; *environment != NULL; environment++)
        if (strncmp(*environment, "PATH=", 5) == 0)
            return *environment + 5;
    return default_path;
}

/* The file of a program by its name, to be freed; NULL: there is none. */
static char *find(const char *name, const char *path) {
    if (strchr(name, '/') != NULL)
        return mem_strdup(name);
    char *file = mem_alloc(strlen(path) + strlen(name) + 2);
    for (const char *folder = path, *end; folder != NULL; folder = *end == ':' ? end + 1 : NULL) {
        end = strchrnul(folder, ':');
        int len = (int)(end - folder);
        sprintf(file, "%.*s/%s", len == 0 ? 1 : len, len == 0 ? "." : folder, name);
        if (is_program(file))
            return file;
    }
    mem_free(file);
    return NULL;
}

/* ---- what it gets ---- */

/* In both arrays, [0] is the end that is read. */
static bool make_pipes(const struct launch *launch, int pipes[LAUNCH_PIPES][2]) {
    for (int i = 0; i < LAUNCH_PIPES; i++) {
        if (i == LAUNCH_INPUT && !launch->has_input)
            continue;
        if (pipe2(pipes[i], O_CLOEXEC) != 0)
            return false;
        int ours = pipes[i][i == LAUNCH_INPUT ? 1 : 0];
        if (fcntl(ours, F_SETFL, O_NONBLOCK) != 0)
            return false;
    }
    return true;
}

static void close_ends(int pipes[LAUNCH_PIPES][2], bool ours, bool theirs) {
    for (int i = 0; i < LAUNCH_PIPES; i++)
        for (int end = 0; end < 2; end++) {
            bool is_ours = (end == 1) == (i == LAUNCH_INPUT);
            if (pipes[i][end] >= 0 && (is_ours ? ours : theirs))
                close(pipes[i][end]);
        }
}

static int spawn(const struct launch *launch, const char *file, int pipes[LAUNCH_PIPES][2],
                 int *pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawn_file_actions_init(&actions);
    if (launch->has_input)
        posix_spawn_file_actions_adddup2(&actions, pipes[LAUNCH_INPUT][0], STDIN_FILENO);
    else
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, pipes[LAUNCH_OUTPUT][1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, pipes[LAUNCH_ERRORS][1], STDERR_FILENO);
    if (launch->folder != NULL)
        posix_spawn_file_actions_addchdir_np(&actions, launch->folder);
    descriptors_close_on_exec();
    int error =
        posix_spawn(pid, file, &actions, &attributes, launch->arguments, launch->environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error;
}

/* ---- errors ---- */

/* A program that is there and "does not exist" is a script whose interpreter does not. */
static bool explain(const struct launch *launch, const char *file, int error,
                    const struct error_text *problem) {
    const char *name = launch->arguments[0];
    struct stat info;
    if (launch->folder != NULL && stat(launch->folder, &info) != 0)
        return error_text_fail(problem, "%s: cwd %s: %s", name, launch->folder, strerror(errno));
    if (launch->folder != NULL && !S_ISDIR(info.st_mode))
        return error_text_fail(problem, "%s: cwd %s: %s", name, launch->folder, strerror(ENOTDIR));
    if (error == ENOENT && stat(file, &info) == 0)
        return error_text_fail(problem, "%s: the interpreter that it names does not exist", name);
    return error_text_fail(problem, "%s: %s", name, strerror(error));
}

bool launch_program(const struct launch *launch, struct launched *out,
                    const struct error_text *problem) {
    const char *name = launch->arguments[0], *path = path_of(launch->environment);
    int pipes[LAUNCH_PIPES][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
    char *file = find(name, path);
    if (file == NULL)
        return error_text_fail(problem, "%s: not found in PATH, %s", name, path);
    int error = make_pipes(launch, pipes) ? 0 : errno;
    bool ok = error == 0 && (error = spawn(launch, file, pipes, &out->pid)) == 0;
    if (!ok)
        explain(launch, file, error, problem);
    close_ends(pipes, !ok, true);
    for (int i = 0; i < LAUNCH_PIPES; i++)
        out->pipes[i] = ok ? pipes[i][i == LAUNCH_INPUT ? 1 : 0] : -1;
    mem_free(file);
    return ok;
}
