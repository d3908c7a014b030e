/* state.h -- what outlives the process: taken out of the state file at the start, and written into
 * it at the end.
 *
 * The first worker that has read the app's options takes the file, before any on_load: the stores
 * of tw.shared at once; each worker gets its tables of tw.keep by its number. Before the first
 * client the file is removed: a state is used once. The main thread calls all functions but
 * state_take() and state_keep(). Knows no worker. */
#ifndef TIDEWIRE_SERVER_STATE_STATE_H
#define TIDEWIRE_SERVER_STATE_STATE_H

#include "base/error_text.h"
#include "base/packing.h"
#include "core/bus/bus.h"
#include "core/store/shared.h"
#include "script/plain/plain_data.h"

#include <stdbool.h>
#include <stddef.h>

struct state;

/* No file yet. The stores and the bus are borrowed. */
struct state *state_new(struct shared *shared, struct bus *bus);
void state_free(struct state *state); /* accepts NULL */

/* Is the section one of those that state_take() reads, and whole; or of another type? */
bool state_check_section(uint32_t type, struct slice body);

/* ---- the start ---- */

/* The app's option names this file: takes it, if it is there. A damaged one is put aside, which is
 * logged. The next calls do nothing; all must name the same file. False: the server cannot start
 * with this file. Any thread. */
bool state_take(struct state *state, const char *file, const struct error_text *problem);
/* The process before passes its state: state_take() only notes the file. Before the load. */
void state_expect(struct state *state);
/* Takes the state of this descriptor, which stays the caller's; -1: there is none, and the file is
 * taken. False: the server cannot start with its file. */
bool state_receive(struct state *state, int fd, const struct error_text *problem);
/* The table of tw.keep with this index that the worker has kept: its name, and its value
 * (plain_data.h). False: there are no more. Any thread, after state_take(). */
bool state_keep(const struct state *state, unsigned worker, size_t index, struct slice *name,
                struct slice *value);
/* Gives the rooms what they remember. On the thread of a worker, when the app's endpoints are
 * there; one worker calls it. */
void state_take_rooms(struct state *state);
/* The sessions of all workers; this one has an index from 0. */
struct state_session {
    struct slice session; /* for hub_session_restore() */
    struct slice values;  /* of its object (vm_restore_session()) */
};
size_t state_sessions(const struct state *state);
const struct state_session *state_session(const struct state *state, size_t index);
/* One of them has no place. The text is static. Any thread. */
void state_refuse_session(struct state *state, const char *why);
/* Logs what was taken, and what was not because there are only so many workers. When all workers
 * have got theirs. */
void state_log_taken(struct state *state, unsigned workers);

/* The server begins to accept: the file is not taken again. */
void state_begin_serving(struct state *state);
/* It serves, or has failed to, and the file stays. */
void state_end_start(struct state *state, bool serves);

/* ---- the end ---- */

/* Begins to write the state, and writes the stores. False: the app has no state file. */
bool state_begin_save(struct state *state);
/* Opens a section for one table of tw.keep; its value goes into the sink. */
struct sink *state_begin_keep(struct state *state, unsigned worker, struct slice name);
/* The same for a session, of an endpoint with this path. */
struct sink *state_begin_session(struct state *state, struct slice path);
/* Ends the section. */
void state_end_part(struct state *state);
/* Does the app have a state file? Then sessions outlive the drain. Any thread. */
bool state_is_used(const struct state *state);
/* Where the names of values that are left out go. */
const struct plain_data_left_out *state_left_out(struct state *state);
/* A worker has not answered: its part is missing. */
void state_miss_worker(struct state *state, unsigned worker);
/* Gives the file its name. Logs that, or why there is none, and what was left out. False: there is
 * none, or a part is missing. */
bool state_end_save(struct state *state);

/* In place of state_end_save(), for the next process: a file without a name, which the caller
 * closes; -1: it could not be written. The state file is the next process's from now on. */
int state_end_pass(struct state *state);
/* The next process has failed: the state file is this one's again. False: that process has not
 * ended yet, or the file cannot be had, which is logged where this is the last try. */
bool state_take_back(struct state *state, bool is_last);

/* One line about what a start would do with this file, for `tidewire check`. */
void state_describe(const char *file, char *text, size_t size);

#endif
