/* twin.h -- the compressed forms of a message that many queues hold.
 *
 * The first receiver that needs one has it made. It hangs on the message from then on, and all
 * receivers with the same parameters share it, on all workers: a broadcast is compressed once. A
 * twin is a message of its own, counted and never changed. Any thread. */
#ifndef TIDEWIRE_CORE_FRAMES_TWIN_H
#define TIDEWIRE_CORE_FRAMES_TWIN_H

#include "core/frames/compressor.h"
#include "core/frames/message.h"

/* One of them, or the knowledge that compression does not gain. */
struct twin;

/* The form of the message for clients that allow so many bits of window (9 to 15): a twin, or the
 * message itself where compression does not gain. Borrowed from the message. `*made`: it was
 * compressed now, by this call. `level`: 1 to 9. */
struct message *twin_of(struct message *message, struct compressor_pool *pool, unsigned window_bits,
                        int level, bool *made);

/* Bytes of the compressed forms of messages that rooms remember, in the whole process. They count
 * with the memory of these, and not as memory of queues. */
size_t twin_kept_bytes(void);

/* For message.c, when no room remembers the message any more: its compressed forms count as memory
 * of queues from then on. */
__attribute__((cold, noinline)) void twin_end_keep(struct message *message);

/* For message.c, when the message is freed. Not inlined there: few messages have twins. */
__attribute__((cold, noinline)) void twin_free_all(struct twin *twins);

#endif
