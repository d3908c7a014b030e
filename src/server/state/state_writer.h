/* state_writer.h -- writes a state file: as another file first, which then gets its name.
 *
 * Bytes go through a buffer to the file, so the memory that a writer needs does not grow with the
 * state. An error is kept, and whatever is written after it is dropped. One thread at a time. */
#ifndef TIDEWIRE_SERVER_STATE_STATE_WRITER_H
#define TIDEWIRE_SERVER_STATE_STATE_WRITER_H

#include "base/error_text.h"
#include "base/packing.h"
#include "server/state/state_file.h"

#include <stdbool.h>
#include <stdint.h>

struct state_writer;

/* Creates FILE.tmp, which only our own user can read; a file of that name is replaced. */
struct state_writer *state_writer_open(const char *file, uint64_t now_ms);
/* Removes FILE.tmp, if it is there still. Accepts NULL. */
void state_writer_free(struct state_writer *writer);

/* The bytes between both calls are a section. Bytes go into the sink. */
struct sink *state_writer_begin(struct state_writer *writer, enum state_section type);
void state_writer_end(struct state_writer *writer);
uint64_t state_writer_written_ms(const struct state_writer *writer);
/* The bytes so far. */
uint64_t state_writer_bytes(const struct state_writer *writer);

/* Finishes the file and gives it its name; it is on the disk then. False, with what has failed:
 * there is no file of that name, or an older one. */
bool state_writer_place(struct state_writer *writer, const struct error_text *problem);
/* Finishes the file, and removes its name. Returns its descriptor, which is the caller's; -1, with
 * what has failed. */
int state_writer_detach(struct state_writer *writer, const struct error_text *problem);

#endif
