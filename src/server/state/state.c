/* state.c -- reads a state: the file at the start, or what the process before passes. See
 * state.h. */
#include "server/state/state_parts.h"

#include "base/mem.h"
#include "core/hub/hub.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- sections ---- */

static bool read_keep(struct slice body, struct state_kept *kept) {
    uint64_t worker;
    if (!unpack_number(&body, &worker) || worker > UINT32_MAX || !unpack_text(&body, &kept->name))
        return false;
    kept->worker = (unsigned)worker;
    kept->value = body;
    return true;
}

static bool read_session(struct slice body, struct state_session *session) {
    if (!unpack_text(&body, &session->session))
        return false;
    session->values = body;
    return true;
}

static bool check_session(struct slice body) {
    struct state_session session;
    return read_session(body, &session) && hub_session_is_one(session.session) &&
           plain_data_skip(&session.values) && plain_data_is_one(session.values);
}

bool state_check_section(uint32_t type, struct slice body) {
    struct state_kept kept;
    struct store_unpacked result = {0};
    switch (type) {
    case STATE_SHARED:
        return shared_unpack(NULL, body, 0, &result);
    case STATE_KEEP:
        return read_keep(body, &kept) && plain_data_is_one(kept.value);
    case STATE_SESSION:
        return check_session(body);
    case STATE_ROOMS:
        return bus_memory_is_one(body);
    default:
        return true;
    }
}

/* Counts the sections; with `state`, takes them. */
static void read_sections(const struct state_file *file, struct state *state,
                          struct state_counts *counts) {
    size_t at = 0;
    uint32_t type;
    struct slice body;
    while (state_file_next(file, &at, &type, &body)) {
        if (type == STATE_SHARED) {
            counts->stores++;
            shared_unpack(state == NULL ? NULL : state->shared, body, state_wall_ms(),
                          &counts->keys);
        } else if (type == STATE_KEEP) {
            counts->tables++;
            if (state == NULL)
                continue;
            state->kept = mem_realloc(state->kept, counts->tables * sizeof *state->kept);
            read_keep(body, &state->kept[counts->tables - 1]);
        } else if (type == STATE_SESSION) {
            counts->sessions++;
            if (state == NULL)
                continue;
            state->sessions =
                mem_realloc(state->sessions, counts->sessions * sizeof *state->sessions);
            read_session(body, &state->sessions[counts->sessions - 1]);
        } else if (type == STATE_ROOMS) {
            counts->rooms_bytes += body.len;
            if (state != NULL)
                state->rooms = body;
        }
    }
}

/* ---- names ---- */

/* The name as it is from every working folder. */
static char *absolute(const char *file) {
    char folder[4096];
    if (file[0] == '/' || getcwd(folder, sizeof folder - 1) == NULL)
        return mem_strdup(file);
    strcat(folder, "/");
    return mem_concat(folder, file);
}

/* As 20261130T211500Z. */
static void write_time(char text[32], uint64_t wall_ms) {
    time_t time = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&time, &tm);
    strftime(text, 32, "%Y%m%dT%H%M%SZ", &tm);
}

/* ---- the start ---- */

struct state *state_new(struct shared *shared, struct bus *bus) {
    struct state *state = mem_zalloc(sizeof *state);
    state->shared = shared;
    state->bus = bus;
    state->running.fd = -1;
    uv_mutex_init(&state->lock);
    return state;
}

static void forget_file(struct state *state) {
    state_file_close(&state->read);
    mem_free(state->kept);
    mem_free(state->sessions);
    state->kept = NULL;
    state->sessions = NULL;
    state->rooms = (struct slice){NULL, 0};
    state->counts = (struct state_counts){0};
}

void state_free(struct state *state) {
    if (state == NULL)
        return;
    forget_file(state);
    state_lock_release(&state->running, state->running.lost != 0);
    state_writer_free(state->writer);
    uv_mutex_destroy(&state->lock);
    mem_free(state->file);
    mem_free(state);
}

/* Gives the file another name, so that no state is lost that another program could read. */
static void put_aside(const char *file, const char *why) {
    char time_text[32], error[PROBLEM_BYTES];
    write_time(time_text, state_wall_ms());
    char *bad = mem_concat(file, ".bad-"), *aside = mem_concat(bad, time_text);
    struct log_line line;
    bool good = rename(file, aside) == 0;
    snprintf(error, sizeof error, "%s: %s", file, why);
    log_begin(&line, LOG_ERROR, "state_bad");
    log_str(&line, "why", error);
    if (good)
        log_str(&line, "put_aside", aside);
    log_end(&line);
    mem_free(bad);
    mem_free(aside);
}

/* Is there no file, or a regular one? */
static bool check_type(const char *file, const struct error_text *problem) {
    struct stat info;
    if (stat(file, &info) != 0 || S_ISREG(info.st_mode))
        return true;
    return error_text_fail(problem, "the state file %s %s", file,
                           S_ISDIR(info.st_mode) ? "is a folder: name a file in it"
                                                 : "exists and is no regular file");
}

static int open_file(const char *file) {
    return open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

/* Locks the file of `state`. False: the server cannot start with it. */
static bool lock_file(struct state *state, const struct error_text *problem) {
    if (!check_type(state->file, problem) ||
        !state_lock_take(&state->running, state->file, problem))
        return false;
    if (problem->text[0] != '\0')
        log_event(LOG_ERROR, "state_failed", problem->text);
    return true;
}

/* Takes what the descriptor has. False: nothing, because it cannot be used. */
static bool read_state(struct state *state, int fd, const struct error_text *why) {
    uint64_t began_ns = clock_monotonic_ns();
    bool good = state_file_read(fd, state_check_section, &state->read, why);
    if (good)
        read_sections(&state->read, state, &state->counts);
    state->took_ns = clock_monotonic_ns() - began_ns;
    return good;
}

/* Takes the file of `state`. False: see state_take(). */
static bool take(struct state *state, const struct error_text *problem) {
    char why[PROBLEM_BYTES];
    if (!lock_file(state, problem))
        return false;
    int fd = open_file(state->file);
    if (fd < 0 && errno != ENOENT) {
        snprintf(why, sizeof why, "it cannot be opened: %s", strerror(errno));
        put_aside(state->file, why);
    } else if (fd >= 0 && read_state(state, fd, &(struct error_text){why, sizeof why})) {
        state->running.lost = 0;
    } else if (fd >= 0) {
        put_aside(state->file, why);
    }
    if (fd >= 0)
        close(fd);
    if (state->running.lost != 0)
        log_eventf(LOG_WARN, "state_lost",
                   "process %ld has ended without writing %s, as by kill -9: what it kept is lost",
                   state->running.lost, state->file);
    return true;
}

void state_expect(struct state *state) {
    state->is_expected = true;
}

bool state_receive(struct state *state, int fd, const struct error_text *problem) {
    char why[PROBLEM_BYTES];
    state->is_expected = false;
    if (state->file == NULL)
        return true;
    if (fd < 0) {
        state->is_usable = take(state, problem);
        return state->is_usable;
    }
    if (!lock_file(state, problem))
        return false;
    state->running.lost = 0;
    state->is_passed = read_state(state, fd, &(struct error_text){why, sizeof why});
    if (!state->is_passed)
        log_eventf(LOG_ERROR, "state_lost", "the state of the running process cannot be used: %s",
                   why);
    return true;
}

bool state_take(struct state *state, const char *file, const struct error_text *problem) {
    char *name = absolute(file);
    uv_mutex_lock(&state->lock);
    bool good;
    if (state->file == NULL) {
        state->file = name;
        name = NULL;
        state->is_usable = state->is_expected ||
                           take(state, &(struct error_text){state->problem, sizeof state->problem});
    }
    if (name != NULL && strcmp(name, state->file) != 0)
        good = error_text_fail(problem,
                               "some workers name another state file (%s) than others "
                               "(%s)",
                               name, state->file);
    else
        good = state->is_usable || error_text_fail(problem, "%s", state->problem);
    uv_mutex_unlock(&state->lock);
    mem_free(name);
    return good;
}

bool state_keep(const struct state *state, unsigned worker, size_t index, struct slice *name,
                struct slice *value) {
    for (size_t i = 0; i < state->counts.tables; i++) {
        const struct state_kept *kept = &state->kept[i];
        if (kept->worker != worker || index-- > 0)
            continue;
        *name = kept->name;
        *value = kept->value;
        return true;
    }
    return false;
}

void state_take_rooms(struct state *state) {
    if (state->rooms.len > 0)
        bus_memory_restore(state->bus, state->rooms);
}

size_t state_sessions(const struct state *state) {
    return state->counts.sessions;
}

const struct state_session *state_session(const struct state *state, size_t index) {
    return &state->sessions[index];
}

void state_refuse_session(struct state *state, const char *why) {
    uv_mutex_lock(&state->lock);
    struct state_refused *at = state->refused;
    while (at < state->refused + MAX_REASONS - 1 && at->why != NULL && strcmp(at->why, why) != 0)
        at++;
    at->why = at->why == NULL ? why : at->why;
    at->count++;
    uv_mutex_unlock(&state->lock);
}

/* Adds a name, if it is not there; without room for it, counts it. */
void state_add_name(struct state_names *list, const char *name) {
    size_t len = strlen(name);
    if (len == 0) /* it begins with a NUL */
        return;
    for (const char *at = list->names; (at = strstr(at, name)) != NULL; at += len)
        if ((at == list->names || at[-1] == ' ') && (at[len] == '\0' || at[len] == ','))
            return;
    if (list->len + len + 3 > sizeof list->names)
        list->more++;
    else
        list->len += (size_t)snprintf(list->names + list->len, sizeof list->names - list->len,
                                      "%s%s", list->len == 0 ? "" : ", ", name);
}

static void log_dropped(struct state *state, unsigned workers) {
    struct state_names list = {0};
    char name[128];
    for (size_t i = 0; i < state->counts.tables; i++) {
        const struct state_kept *kept = &state->kept[i];
        if (kept->worker < workers)
            continue;
        state->counts.dropped++;
        snprintf(name, sizeof name, "%.*s", (int)(kept->name.len < 100 ? kept->name.len : 100),
                 kept->name.bytes);
        state_add_name(&list, name);
    }
    if (state->counts.dropped == 0)
        return;
    struct log_line line;
    log_begin(&line, LOG_WARN, "left_out");
    log_str(&line, "names", list.names);
    log_int(&line, "tables", (int64_t)state->counts.dropped);
    log_str(&line, "why", "these tables of tw.keep are those of workers that there are no more");
    log_end(&line);
}

/* Returns the number of sessions that have no place. */
static size_t log_refused(struct state *state) {
    size_t total = 0;
    struct log_line line;
    for (struct state_refused *at = state->refused; at < state->refused + MAX_REASONS; at++) {
        if (at->count == 0)
            continue;
        total += at->count;
        log_begin(&line, LOG_WARN, "left_out");
        log_int(&line, "sessions", (int64_t)at->count);
        log_str(&line, "why", at->why);
        log_end(&line);
        *at = (struct state_refused){0};
    }
    return total;
}

void state_log_counts(struct log_line *line, const struct state_counts *counts) {
    log_int(line, "sessions", (int64_t)counts->sessions);
    log_int(line, "stores", (int64_t)counts->stores);
    log_int(line, "keys", (int64_t)counts->keys.entries);
    log_int(line, "tables", (int64_t)(counts->tables - counts->dropped));
    log_int(line, "rooms_bytes", (int64_t)counts->rooms_bytes);
}

void state_log_taken(struct state *state, unsigned workers) {
    if (state->read.bytes.len == 0)
        return;
    log_dropped(state, workers);
    state->counts.sessions -= log_refused(state);
    struct log_line line;
    if (state->counts.keys.refused > 0) {
        log_begin(&line, LOG_WARN, "left_out");
        log_int(&line, "keys", (int64_t)state->counts.keys.refused);
        log_str(&line, "why", "these keys of tw.shared exceed the limit of their store");
        log_end(&line);
    }
    log_begin(&line, LOG_INFO, "state_taken");
    log_str(&line, "file", state->file);
    log_int(&line, "bytes", (int64_t)state->read.bytes.len);
    state_log_counts(&line, &state->counts);
    log_num(&line, "seconds", (double)state->took_ns / 1e9);
    log_end(&line);
}

void state_begin_serving(struct state *state) {
    if (state->file == NULL)
        return;
    char *taken = mem_concat(state->file, ".taken");
    state_lock_mark(&state->running, true);
    if (state->read.bytes.len > 0 && !state->is_passed)
        state->is_moved = rename(state->file, taken) == 0;
    else
        unlink(taken); /* of a process that was killed as it began to serve */
    if (state->read.bytes.len > 0 && !state->is_passed && !state->is_moved)
        log_eventf(LOG_ERROR, "state_failed",
                   "cannot remove %s, which the next start would take "
                   "again: %s",
                   state->file, strerror(errno));
    mem_free(taken);
    forget_file(state);
}

void state_end_start(struct state *state, bool serves) {
    if (state->file == NULL)
        return;
    char *taken = mem_concat(state->file, ".taken");
    if (!serves)
        state_lock_mark(&state->running, false);
    if (state->is_moved && serves)
        unlink(taken);
    else if (state->is_moved)
        rename(taken, state->file);
    state->is_moved = false;
    state->running.lost = 0;
    mem_free(taken);
}

/* ---- tidewire check ---- */

void state_describe(const char *file, char *text, size_t size) {
    char why[PROBLEM_BYTES], time_text[32];
    struct error_text problem = {why, sizeof why};
    struct state_file read = {0};
    struct state_counts counts = {0};
    int fd = open_file(file);
    if (!check_type(file, &problem)) {
        snprintf(text, size, "%s", why);
    } else if (fd < 0) {
        snprintf(text, size,
                 errno == ENOENT ? "the state file %s: there is none yet"
                                 : "the state file %s cannot be opened",
                 file);
    } else if (!state_file_read(fd, state_check_section, &read, &problem)) {
        snprintf(text, size, "the state file %s: %s; a start would put it aside", file, why);
    } else {
        read_sections(&read, NULL, &counts);
        write_time(time_text, read.written_ms);
        snprintf(text, size,
                 "the state file %s: written %s, %zu bytes, %zu sessions, %zu stores, %zu keys, "
                 "%zu tables of tw.keep, %zu bytes of rooms; a start would take it",
                 file, time_text, read.bytes.len, counts.sessions, counts.stores,
                 counts.keys.entries, counts.tables, counts.rooms_bytes);
    }
    state_file_close(&read);
    if (fd >= 0)
        close(fd);
}
