/* store.h -- small values under keys, shared by threads: a store of tw.shared.
 *
 * A store keeps strings, integers, floats and booleans, with or without a time-to-live, up to a
 * limit in bytes. Any thread may call, and every call is atomic: no two workers can both `add` a
 * key, no `incr` is lost. Keys and values are copied, in and out.
 *
 * A key does not exist from the moment that it expires; store_sweep() frees its memory later. Time
 * comes from the given clock. Knows no Lua, no worker and no other store. */
#ifndef TIDEWIRE_CORE_STORE_STORE_H
#define TIDEWIRE_CORE_STORE_STORE_H

#include "base/packing.h"
#include "base/slice.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STORE_MAX_KEY_BYTES = 1024 };

enum store_type { STORE_BOOLEAN, STORE_INTEGER, STORE_NUMBER, STORE_TEXT };

struct store_value {
    enum store_type type;
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct slice text;
    };
};

enum store_result {
    STORE_OK,
    STORE_NONE,      /* the key does not exist */
    STORE_EXISTS,    /* the key exists already */
    STORE_FULL,      /* the value exceeds the limit; nothing was changed */
    STORE_NO_NUMBER, /* incr of a value that is no number */
    STORE_OVERFLOW,  /* incr beyond 64 bits */
};

/* Shared by the stores of a process: the time, and when to sweep next. */
struct store_clock {
    uint64_t (*now_ms)(void *user); /* monotonic; called by any thread */
    void *user;
    _Atomic uint64_t sweep_at; /* ms; STORE_NEVER: no key has a time-to-live */
};

#define STORE_NEVER UINT64_MAX

/* Sets `sweep_at` to this moment, unless it is earlier already. */
void store_sweep_at(struct store_clock *clock, uint64_t ms);

/* An empty store. The clock is borrowed and must outlive it. */
struct store *store_new(struct slice name, size_t max_bytes, struct store_clock *clock);
/* No thread may use it any more. */
void store_free(struct store *store);

struct slice store_name(const struct store *store);
size_t store_max_bytes(const struct store *store);
/* Entries that are there already stay. */
void store_set_max_bytes(struct store *store, size_t max_bytes);
/* The bytes of its entries, with expired ones that are not swept yet. An entry costs the length of
 * its key, that of its text, and store_entry_bytes(). */
size_t store_bytes(struct store *store);
size_t store_entry_bytes(void);

/* ---- a key has at most STORE_MAX_KEY_BYTES; a time-to-live is in milliseconds, 0: none ---- */

/* Reads a value: STORE_OK or STORE_NONE. Copies a text into `buffer`; if it is longer than `size`,
 * text.len is its length and text.bytes is NULL. */
enum store_result store_get(struct store *store, struct slice key, struct store_value *value,
                            char *buffer, size_t size);

/* Sets a value, whether the key exists or not: STORE_OK or STORE_FULL. */
enum store_result store_set(struct store *store, struct slice key, const struct store_value *value,
                            uint64_t ttl_ms);

/* Adds `by` to the number of the key, or to `initial` if the key does not exist; *now is the sum.
 * The sum of integers is an integer, any other a float. The time-to-live applies if this call makes
 * the key; an existing key keeps its own. */
enum store_result store_incr(struct store *store, struct slice key, const struct store_value *by,
                             const struct store_value *initial, uint64_t ttl_ms,
                             struct store_value *now);

/* Replaces `expected` (NULL: the key does not exist) by `value` (NULL: deletes the key): STORE_OK,
 * STORE_FULL, or STORE_EXISTS if the key has another value. A value that is larger than the whole
 * store is always STORE_FULL. The time-to-live is as for store_incr(). */
enum store_result store_exchange(struct store *store, struct slice key,
                                 const struct store_value *expected,
                                 const struct store_value *value, uint64_t ttl_ms);

/* Deletes a key. False: it did not exist. */
bool store_delete(struct store *store, struct slice key);

/* Changes a key's time-to-live, counted from now; 0: none. False: the key does not exist. */
bool store_expire(struct store *store, struct slice key, uint64_t ttl_ms);

/* Calls f for up to `max` keys, in no defined order, as of one moment. Holds the lock for the whole
 * walk: f must not call the store. */
void store_each(struct store *store, size_t max,
                void (*f)(void *user, struct slice key, const struct store_value *value),
                void *user);

/* ---- packed entries, which outlive the process ---- */

struct store_unpacked {
    size_t entries; /* that are in the store now, or would be */
    size_t expired; /* that have expired meanwhile */
    size_t refused; /* that exceed the limit of the store */
};

/* Packs all entries. Their ends are times of the wall clock, which is `wall_ms` now (Unix time in
 * ms). Holds the lock for the whole walk. Returns their number. */
size_t store_pack(struct store *store, uint64_t wall_ms, struct sink *sink);
/* Sets packed entries, over those with the same keys, and adds to the numbers of the result.
 * `store` NULL: only reads. False: the bytes are none; the entries before are set. */
bool store_unpack(struct store *store, struct slice *from, uint64_t wall_ms,
                  struct store_unpacked *result);

/* Frees a bounded number of expired entries, so that a worker may call it between its events.
 * False: there are more. Sets the clock's `sweep_at` to this store's next sweep. */
bool store_sweep(struct store *store);

#endif
