/* state_save.c -- writes a state: into its file at the end of the process, or for the next process.
 * See state.h. */
#include "server/state/state_parts.h"

#include <stdio.h>
#include <string.h>

bool state_is_used(const struct state *state) {
    return state->file != NULL && state->is_usable;
}

static void add_left_out(void *user, const char *path, const char *what) {
    struct state *state = user;
    char name[NAMES_BYTES];
    (void)what;
    snprintf(name, sizeof name, "%s%s", state->part_name, path);
    state_add_name(&state->left_out, name);
}

bool state_begin_save(struct state *state) {
    if (!state_is_used(state))
        return false;
    state->began_ns = clock_monotonic_ns();
    state->written = (struct state_counts){0};
    state->left_out = (struct state_names){0};
    state->missing[0] = '\0';
    state->omits = (struct plain_data_left_out){add_left_out, state};
    state->writer = state_writer_open(state->file, state_wall_ms());
    for (uint32_t i = 0; i < shared_count(state->shared); i++) {
        struct sink *sink = state_writer_begin(state->writer, STATE_SHARED);
        state->written.keys.entries +=
            shared_pack(state->shared, i, state_writer_written_ms(state->writer), sink);
        state_writer_end(state->writer);
        state->written.stores++;
    }
    uint64_t before = state_writer_bytes(state->writer);
    bus_memory_save(state->bus, state_writer_begin(state->writer, STATE_ROOMS));
    state_writer_end(state->writer);
    state->written.rooms_bytes =
        (size_t)(state_writer_bytes(state->writer) - before - STATE_SECTION_BYTES);
    return true;
}

struct sink *state_begin_keep(struct state *state, unsigned worker, struct slice name) {
    struct sink *sink = state_writer_begin(state->writer, STATE_KEEP);
    pack_number(sink, worker);
    pack_text(sink, name.bytes, name.len);
    snprintf(state->part_name, sizeof state->part_name, "tw.keep(%.*s)",
             (int)(name.len < 100 ? name.len : 100), name.bytes);
    state->written.tables++;
    return sink;
}

struct sink *state_begin_session(struct state *state, struct slice path) {
    snprintf(state->part_name, sizeof state->part_name, "conn(%.*s)",
             (int)(path.len < 100 ? path.len : 100), path.bytes);
    state->written.sessions++;
    return state_writer_begin(state->writer, STATE_SESSION);
}

void state_end_part(struct state *state) {
    state_writer_end(state->writer);
}

const struct plain_data_left_out *state_left_out(struct state *state) {
    return &state->omits;
}

void state_miss_worker(struct state *state, unsigned worker) {
    size_t len = strlen(state->missing);
    snprintf(state->missing + len, sizeof state->missing - len, "%s%u", len == 0 ? "" : ", ",
             worker);
}

static void log_left_out(const struct state *state) {
    struct log_line line;
    if (state->missing[0] != '\0')
        log_eventf(LOG_ERROR, "state_failed",
                   "the tables of tw.keep and the sessions of worker %s are not in the state: a "
                   "script does not return",
                   state->missing);
    if (state->left_out.len == 0)
        return;
    log_begin(&line, LOG_WARN, "left_out");
    log_str(&line, "names", state->left_out.names);
    if (state->left_out.more > 0)
        log_int(&line, "more", (int64_t)state->left_out.more);
    log_str(&line, "why", "no plain data (numbers, strings, booleans, tables of these)");
    log_end(&line);
}

/* Logs that the state was written, or why not (`why`), and frees the writer. `file`: its name, or
 * NULL. */
static void end_writing(struct state *state, const char *event, const char *file, const char *why) {
    struct log_line line;
    log_left_out(state);
    if (why == NULL) {
        log_begin(&line, LOG_INFO, event);
        if (file != NULL)
            log_str(&line, "file", file);
        log_int(&line, "bytes", (int64_t)state_writer_bytes(state->writer));
        state_log_counts(&line, &state->written);
        log_num(&line, "seconds", (double)(clock_monotonic_ns() - state->began_ns) / 1e9);
        log_end(&line);
    } else {
        log_eventf(LOG_ERROR, "state_failed", "the state is lost: %s", why);
    }
    state_writer_free(state->writer);
    state->writer = NULL;
}

bool state_end_save(struct state *state) {
    char why[PROBLEM_BYTES];
    bool good = state_writer_place(state->writer, &(struct error_text){why, sizeof why});
    end_writing(state, "state_written", state->file, good ? NULL : why);
    state_lock_release(&state->running, !good);
    return good && state->missing[0] == '\0';
}

int state_end_pass(struct state *state) {
    char why[PROBLEM_BYTES];
    int fd = state_writer_detach(state->writer, &(struct error_text){why, sizeof why});
    end_writing(state, "state_passed", NULL, fd >= 0 ? NULL : why);
    state_lock_release(&state->running, false);
    return fd;
}

bool state_take_back(struct state *state, bool is_last) {
    char why[PROBLEM_BYTES];
    if (state->running.fd < 0) { /* else it was not passed yet */
        state_lock_release(&state->running, true);
        if (!state_lock_take(&state->running, state->file, &(struct error_text){why, sizeof why})) {
            if (is_last)
                log_event(LOG_ERROR, "state_failed", why);
            return false;
        }
    }
    state_lock_mark(&state->running, true);
    state->running.lost = 0;
    return true;
}
