/* succession.c -- the process before this one and the one after it. See succession.h. */
#include "server/succession.h"

#include "base/log.h"

#include <stdio.h>

void succession_init(struct succession *succession, const struct succession_options *options) {
    *succession = (struct succession){.options = *options};
    succession->takeover.fd = -1;
    pid_file_init(&succession->pid_file, options->pid_file);
}

void succession_end(struct succession *succession) {
    handover_close(succession->handover);
    succession->handover = NULL;
}

void succession_close(struct succession *succession) {
    succession_end(succession);
    takeover_close(&succession->takeover);
    pid_file_remove(&succession->pid_file);
}

/* ---- the process before ---- */

/* Runs the loop while the takeover is at this. */
static void wait_while(struct succession *succession, enum takeover_state state) {
    while (succession->takeover.state == state &&
           !succession->options.is_ending(succession->options.user))
        uv_run(succession->options.loop, UV_RUN_ONCE);
}

static bool check(const struct succession *succession, enum takeover_state wanted, char *error,
                  size_t error_size) {
    enum takeover_state state = succession->takeover.state;
    if (state != wanted)
        snprintf(error, error_size, "%s",
                 state == TAKEOVER_FAILED ? succession->takeover.problem
                                          : "a signal has ended the upgrade");
    return state == wanted;
}

bool succession_ask(struct succession *succession, char *error, size_t error_size) {
    const struct succession_options *options = &succession->options;
    if (options->upgrade) {
        takeover_begin(&succession->takeover, options->loop, options->pid_file,
                       options->inheritance);
        wait_while(succession, TAKEOVER_ASKING);
        return check(succession, TAKEOVER_HAVING, error, error_size);
    }
    if (options->pid_file == NULL || !takeover_finds(options->pid_file))
        return pid_file_check(&succession->pid_file, error, error_size);
    snprintf(error, error_size,
             "a server with the pid file %s is running; --upgrade takes over from it",
             options->pid_file);
    return false;
}

static bool take_over(struct succession *succession, char *error, size_t error_size) {
    if (!succession->options.upgrade)
        return true;
    takeover_ready(&succession->takeover);
    wait_while(succession, TAKEOVER_SAYING);
    if (!check(succession, TAKEOVER_DONE, error, error_size))
        return false;
    struct listen_set *admin = admin_set(*succession->options.admin);
    doors_own_files(succession->options.doors);
    if (admin != NULL)
        listen_own_files(admin);
    return true;
}

bool succession_take(struct succession *succession, char *error, size_t error_size) {
    return take_over(succession, error, error_size) &&
           pid_file_place(&succession->pid_file, succession->options.upgrade, error, error_size) &&
           (succession->handover == NULL ||
            handover_place(succession->handover, error, error_size));
}

/* ---- the one after ---- */

static struct listen_set *set_to_pass_on(void *user, size_t number) {
    const struct succession_options *options = &((struct succession *)user)->options;
    if (number < options->doors->count)
        return options->doors->sets[number];
    return number == options->doors->count ? admin_set(*options->admin) : NULL;
}

static void on_taken(void *user, pid_t by) {
    struct succession *succession = user;
    const struct succession_options *options = &succession->options;
    log_eventf(LOG_INFO, "upgrade", "process %ld has taken over", (long)by);
    pid_file_leave(&succession->pid_file);
    doors_leave_files(options->doors);
    admin_leave(*options->admin);
    options->on_taken(options->user, by);
}

static void on_reload(void *user, uint64_t question) {
    const struct succession_options *options = &((struct succession *)user)->options;
    options->on_reload(options->user, question);
}

void succession_answer(struct succession *succession, uint64_t question, unsigned generation,
                       const char *problems) {
    static char answer[HANDOVER_ANSWER_BYTES];
    if (problems == NULL)
        snprintf(answer, sizeof answer, HANDOVER_RELOADED "%u", generation);
    else
        snprintf(answer, sizeof answer, HANDOVER_FAILED "%s", problems);
    if (succession->handover != NULL)
        handover_answer(succession->handover, question, answer);
}

static struct handover *open_handover(struct succession *succession, char *error,
                                      size_t error_size) {
    return handover_open(&(struct handover_options){.loop = succession->options.loop,
                                                    .pid_file = succession->options.pid_file,
                                                    .set = set_to_pass_on,
                                                    .on_taken = on_taken,
                                                    .on_reload = on_reload,
                                                    .user = succession},
                         error, error_size);
}

bool succession_prepare(struct succession *succession, char *error, size_t error_size) {
    if (!pid_file_write(&succession->pid_file, error, error_size))
        return false;
    if (succession->options.pid_file == NULL)
        return true;
    succession->handover = open_handover(succession, error, error_size);
    if (succession->handover == NULL)
        log_event(LOG_WARN, "no_upgrade", error); /* all else works */
    return true;
}

static bool renew_handover(struct succession *succession, char *error, size_t error_size) {
    struct handover *fresh = open_handover(succession, error, error_size);
    if (fresh == NULL)
        return false;
    if (takeover_finds(succession->options.pid_file)) {
        snprintf(error, error_size, "another server waits at %s.sock",
                 succession->options.pid_file);
    } else if (handover_place(fresh, error, error_size)) {
        handover_close(succession->handover);
        succession->handover = fresh;
        return true;
    }
    handover_close(fresh);
    return false;
}

void succession_renew_files(struct succession *succession) {
    char error[512];
    bool good = pid_file_renew(&succession->pid_file, error, sizeof error);
    if (good && succession->handover != NULL && handover_is_lost(succession->handover))
        good = renew_handover(succession, error, sizeof error);
    if (!good)
        log_event(LOG_WARN, "lost_file", error);
}
