/* room_memory.h -- what rooms remember: the last messages of a room, and the last one of each key.
 *
 * Rules say which rooms have a memory, by patterns of their names, and how much: so many messages,
 * bytes and milliseconds. A room's memory begins with its first message and ends with its last one:
 * a room that remembers nothing costs nothing. Each life has an epoch of 64 random bits, in which
 * the messages have the offsets 1, 2, 3, …
 *
 * A message is kept framed, in each encoding that its publisher has made, and shared with the
 * queues that hold it. Its memory counts here, and not as memory of queues (queue_memory.h). One
 * thread at a time: the bus locks. Knows no clock: callers pass the time. */
#ifndef TIDEWIRE_CORE_BUS_ROOM_MEMORY_H
#define TIDEWIRE_CORE_BUS_ROOM_MEMORY_H

#include "base/deadlines.h"
#include "base/list.h"
#include "base/table.h"
#include "core/bus/broadcast.h"
#include "core/bus/encodings_pack.h"

/* How much of one kind a room remembers. */
struct memory_limits {
    uint32_t messages; /* 0: the room has no memory of this kind */
    size_t bytes;      /* of payloads, each in its largest encoding, and keys */
    uint64_t ms;       /* after so long a message is forgotten; 0: never */
};

enum memory_kind { MEMORY_HISTORY, MEMORY_RETAINED, MEMORY_KINDS };

struct room_rule {
    const char *pattern; /* of names; each * stands for any bytes, or none */
    struct memory_limits limits[MEMORY_KINDS];
    bool hides_members; /* from other machines */
};

/* The present moment, on both clocks. */
struct memory_time {
    uint64_t monotonic_ms;
    int64_t wall_ms; /* since 1970-01-01 UTC */
};

/* Where a message is in its room's memory, if a server has numbered it. All zeros: nowhere. */
struct memory_position {
    uint64_t epoch, offset; /* offset 0: no server has numbered it */
    int64_t wall_ms;        /* when it was published, by that server's clock */
    uint64_t age_ms;        /* since then */
    unsigned kinds;         /* of memories that take it: bits 1 << enum memory_kind */
    bool is_local;          /* the server is away: the room numbers it by itself */
};

struct room_memory {
    /* For reading only: */
    uint32_t rooms;
    uint64_t messages;
    size_t bytes;     /* of memory */
    uint64_t evicted; /* messages that went because of `max_bytes` */
    /* private */
    size_t max_bytes;
    struct room_rule *rules;
    uint32_t rule_count, rules_number;
    uint64_t next_epoch; /* of the next room that begins to remember */
    struct table by_name, by_key;
    struct list fitting, stale; /* all rooms: those that follow the present rules, and others */
    struct deadlines by_size, by_expiry;
};

void room_memory_init(struct room_memory *memory);
void room_memory_close(struct room_memory *memory);

/* Sets the rules, of which the first that fits counts, and the most bytes of all rooms. Copies the
 * rules. False: they are those of before. Rooms adapt when they are used, or in
 * room_memory_sweep(). */
bool room_memory_set(struct room_memory *memory, const struct room_rule *rules, uint32_t count,
                     size_t max_bytes);

/* Does a room of this name remember anything? */
bool room_memory_applies(const struct room_memory *memory, struct slice room);
/* Are the members of a room of this name unknown on other machines? */
bool room_memory_hides_members(const struct room_memory *memory, struct slice room);
/* Copies the limits of its rule. False: there is none. */
bool room_memory_limits(const struct room_memory *memory, struct slice room,
                        struct memory_limits limits[MEMORY_KINDS]);

/* Remembers a broadcast to a room, with references of its own. Returns its offset; 0: the room does
 * not remember. */
uint64_t room_memory_add(struct room_memory *memory, const struct broadcast *broadcast,
                         const struct memory_time *now);

/* Remembers one that a server has numbered: behind all others of its kinds. The room has no other
 * epoch afterwards. */
void room_memory_add_numbered(struct room_memory *memory, const struct broadcast *broadcast,
                              const struct memory_position *position,
                              const struct memory_time *now);
/* Forgets what the room remembers. It goes on in this epoch of a server, behind this offset;
 * `dropped`: the largest offset of a retained message that is gone. It keeps this position without
 * a message, too. Epoch 0: it does not go on. */
void room_memory_reset(struct room_memory *memory, struct slice room, uint64_t epoch,
                       uint64_t offset, uint64_t dropped, const struct memory_time *now);

/* Which messages a connection is to get. */
struct replay_request {
    conn_id id; /* messages that leave this connection out are left out */
    uint32_t endpoint, codec;
    bool has_history, has_after, has_epoch, retained;
    uint32_t history; /* of the history, at most the last so many */
    uint64_t after;   /* of the history, those with a larger offset; UINT64_MAX: an offset that
                         cannot be */
    uint64_t epoch;   /* … in this life of the room */
    uint64_t before;  /* only messages with a smaller offset; 0: all */
};

/* They, in the order of their offsets, and the room's position. */
struct replay {
    uint64_t epoch;
    uint64_t offset; /* of the last message that the connection has got or did not want */
    bool recovered;  /* it has got all messages behind `after` */
    bool has_memory; /* false: the room does not remember, and all else is 0 */
    uint32_t count;
    struct message **messages; /* with references of their own */
};

/* Fills in the replay, which the caller frees with replay_free(). */
void room_memory_replay(struct room_memory *memory, struct slice room,
                        const struct replay_request *request, const struct memory_time *now,
                        struct replay *replay);
void replay_free(struct replay *replay);

/* One message that a room remembers. */
struct remembered {
    uint64_t offset;
    int64_t wall_ms; /* when it was broadcast */
    struct message *message;
};

/* Which of them to list. */
struct memory_query {
    enum memory_kind kind;
    bool has_codec;
    uint32_t codec; /* in this encoding; else in that of the codec with the smallest number */
    uint64_t after; /* with a larger offset */
    uint32_t limit; /* at most so many … */
    bool from_end;  /* … the last ones; else the first ones */
};

/* Calls f for each, in the order of their offsets. f must not call the memory. */
void room_memory_list(struct room_memory *memory, struct slice room,
                      const struct memory_query *query, const struct memory_time *now,
                      void (*f)(void *user, const struct remembered *remembered), void *user);

/* The room's epoch and the offset of its last message, 0 before the first. False: the room does not
 * remember. */
bool room_memory_position(struct room_memory *memory, struct slice room,
                          const struct memory_time *now, uint64_t *epoch, uint64_t *offset);

/* Forgets everything of a room, which ends its life; or, with a key, the message that is retained
 * for it. */
void room_memory_clear(struct room_memory *memory, struct slice room, const struct slice *key,
                       const struct memory_time *now);

/* ---- room_memory_save.c: as bytes ---- */

void room_memory_save(const struct room_memory *memory, const struct endpoint_paths *paths,
                      struct sink *out);
/* Are these bytes of room_memory_save()? */
bool room_memory_is_one(struct slice from);
/* Adds what was saved: with its epochs, offsets and times; not what has no endpoint any more. The
 * rules apply when a room is used, or in room_memory_sweep(). False: the bytes are damaged, and
 * nothing was added. */
bool room_memory_restore(struct room_memory *memory, const struct endpoint_paths *paths,
                         struct slice from, const struct memory_time *now);

/* ---- time ---- */

/* Forgets what is too old and adapts rooms to new rules, `steps` rooms or messages at most. False:
 * more is to be done. */
bool room_memory_sweep(struct room_memory *memory, const struct memory_time *now, unsigned steps);
/* When the next message is too old, in monotonic milliseconds; UINT64_MAX: none will be. */
uint64_t room_memory_sweep_at(const struct room_memory *memory);

#endif
