/* launch.c -- starts a program in a process of its own. See launch.h.
 *
 * By posix_spawn(), which does not copy the tables of this process's memory as fork() does. It
 * suspends the calling thread until the system has loaded the program, so a thread of libuv's pool
 * calls it. In threads of their own, starts from a disk that does not answer would pile up; the
 * pool's number of threads is fixed, and a start that waits for one can be cancelled. */
#include "script/children/launch.h"

#include "base/descriptors.h"
#include "base/error_text.h"
#include "base/mem.h"
#include "base/signal_mask.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct launching {
    uv_work_t work;
    struct launch launch; /* its texts are behind `texts` */
    launched_fn *on_launched;
    void *user;
    struct launched launched;
    char problem[512]; /* empty: none */
    char *texts[];     /* the arguments, NULL, the environment, NULL; then the bytes of all */
};

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
    struct stat info;
    if (launch->folder != NULL && stat(launch->folder, &info) != 0)
        return error_text_fail(problem, "cwd %s: %s", launch->folder, strerror(errno));
    if (launch->folder != NULL && !S_ISDIR(info.st_mode))
        return error_text_fail(problem, "cwd %s: %s", launch->folder, strerror(ENOTDIR));
    if (error == ENOENT && stat(file, &info) == 0)
        return error_text_fail(problem, "the interpreter that it names does not exist");
    return error_text_fail(problem, "%s", strerror(error));
}

/* ---- the start ---- */

/* On any thread. False, with a sentence: the program cannot be started. */
static bool start(const struct launch *launch, struct launched *out,
                  const struct error_text *problem) {
    const char *path = path_of(launch->environment);
    int pipes[LAUNCH_PIPES][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
    char *file = find(launch->arguments[0], path);
    if (file == NULL)
        return error_text_fail(problem, "not found in PATH, %s", path);
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

static void on_work(uv_work_t *work) {
    struct launching *launching = work->data;
    start(&launching->launch, &launching->launched,
          &(struct error_text){launching->problem, sizeof launching->problem});
}

static void on_work_over(uv_work_t *work, int status) {
    struct launching *launching = work->data;
    const char *problem = launching->problem[0] == '\0' ? NULL : launching->problem;
    if (status != 0)
        problem = "cancelled";
    launching->on_launched(launching->user, &launching->launched, problem);
}

/* ---- copies ---- */

/* Adds the sizes of the texts. Returns the number of texts, with the NULL at the end. */
static size_t measure(char *const *texts, size_t *size) {
    size_t count = 0;
    for (; texts[count] != NULL; count++)
        *size += strlen(texts[count]) + 1;
    return count + 1;
}

size_t launch_size(const struct launch *launch) {
    size_t size = launch->folder == NULL ? 0 : strlen(launch->folder) + 1;
    size_t count = measure(launch->arguments, &size);
    count += measure(launch->environment, &size);
    return sizeof(struct launching) + count * sizeof(char *) + size;
}

static char *copy_text(const char *text, char **at) {
    char *copy = *at;
    *at = stpcpy(copy, text) + 1;
    return copy;
}

/* Returns the place behind the copies' NULL. */
static char **copy_texts(char *const *texts, char **copies, char **at) {
    for (; *texts != NULL; texts++)
        *copies++ = copy_text(*texts, at);
    *copies++ = NULL;
    return copies;
}

struct launching *launch_begin(void *memory, uv_loop_t *loop, const struct launch *launch,
                               launched_fn *on_launched, void *user) {
    struct launching *launching = memory;
    size_t size = 0;
    size_t arguments = measure(launch->arguments, &size);
    size_t variables = measure(launch->environment, &size);
    *launching = (struct launching){
        .work.data = launching,
        .launch = *launch,
        .on_launched = on_launched,
        .user = user,
    };
    char *at = (char *)(launching->texts + arguments + variables);
    launching->launch.arguments = launching->texts;
    launching->launch.environment = copy_texts(launch->arguments, launching->texts, &at);
    copy_texts(launch->environment, launching->texts + arguments, &at);
    if (launch->folder != NULL)
        launching->launch.folder = copy_text(launch->folder, &at);
    uv_queue_work(loop, &launching->work, on_work, on_work_over);
    return launching;
}

void launch_cancel(struct launching *launching) {
    uv_cancel((uv_req_t *)&launching->work);
}
