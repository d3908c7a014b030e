/* store.h -- small values under keys, for many threads: what a script gets from tw.shared.
 *
 * A store keeps strings, integers, floats and booleans, each for ever or for a time, up to a
 * ceiling in bytes. Every call may come from any thread and is one step for all others: no two
 * workers can both `add` a key, no `incr` is lost. What goes in is copied, what comes out is a
 * copy.
 *
 * A key is gone the moment its time is over, whether its memory has been given back or not;
 * store_sweep() does that. Time comes from the clock that the store is given. Knows no Lua, no
 * worker and no other store. */
#ifndef TIDEWIRE_CORE_STORE_STORE_H
#define TIDEWIRE_CORE_STORE_STORE_H

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
    STORE_NONE,      /* there is no such key */
    STORE_EXISTS,    /* there is one already */
    STORE_FULL,      /* it does not fit below the ceiling; nothing was changed */
    STORE_NO_NUMBER, /* incr of what is no number */
    STORE_OVERFLOW,  /* incr beyond what 64 bits hold */
};

/* What the stores of a process have in common: the time, and when next there is memory to give
 * back. */
struct store_clock {
    uint64_t (*now_ms)(void *user); /* monotonic; called by any thread */
    void *user;
    _Atomic uint64_t sweep_at; /* ms; STORE_NEVER: nothing will end */
};

#define STORE_NEVER UINT64_MAX

/* Makes `sweep_at` this moment, unless it is an earlier one. */
void store_sweep_at(struct store_clock *clock, uint64_t ms);

/* An empty store. The clock is borrowed and must outlive it. */
struct store *store_new(struct slice name, size_t max_bytes, struct store_clock *clock);
/* No thread may use it any more. */
void store_free(struct store *store);

struct slice store_name(const struct store *store);
size_t store_max_bytes(const struct store *store);
/* What its entries take now, those that are over and not swept among them. A key costs its length,
 * that of its text, and the same for all: store_entry_bytes(). */
size_t store_bytes(struct store *store);
size_t store_entry_bytes(void);

/* ---- a key has at most STORE_MAX_KEY_BYTES; a time-to-live is in milliseconds, 0: none ---- */

/* The value: STORE_OK or STORE_NONE. A text is copied into `buffer`; when it is longer than `size`,
 * text.len says how long it is and text.bytes is NULL. */
enum store_result store_get(struct store *store, struct slice key, struct store_value *value,
                            char *buffer, size_t size);

/* Puts a value in the place of what is there, if anything: STORE_OK or STORE_FULL. */
enum store_result store_set(struct store *store, struct slice key, const struct store_value *value,
                            uint64_t ttl_ms);

/* Puts a value where there is none: STORE_OK, STORE_EXISTS or STORE_FULL. What is larger than the
 * whole store is always STORE_FULL. */
enum store_result store_add(struct store *store, struct slice key, const struct store_value *value,
                            uint64_t ttl_ms);

/* Adds `by` to the number of the key, or to `initial` where there is none, and says what it is now.
 * Integers are added as integers, anything else as floats. The time-to-live is that of a key made
 * by this call; one that is there keeps its own. */
enum store_result store_incr(struct store *store, struct slice key, const struct store_value *by,
                             const struct store_value *initial, uint64_t ttl_ms,
                             struct store_value *now);

/* Puts `value` (NULL: nothing) in the place of `expected` (NULL: there is no such key): STORE_OK,
 * STORE_FULL, or STORE_EXISTS where something else is there by now. The time-to-live is as for
 * store_incr(). */
enum store_result store_exchange(struct store *store, struct slice key,
                                 const struct store_value *expected,
                                 const struct store_value *value, uint64_t ttl_ms);

/* Takes a key out. Was it there? */
bool store_delete(struct store *store, struct slice key);

/* Lets a key end after this time, counted from now; 0: never. Is it there? */
bool store_expire(struct store *store, struct slice key, uint64_t ttl_ms);

/* Up to `max` keys, in no order that is promised, as they are at one moment: each as its length, an
 * uint16_t in the machine's order, and its bytes. Returns how many bytes they take; when that is
 * more than `size`, some are missing. `*count`: how many keys. Looks at all entries while others
 * wait. */
size_t store_keys(struct store *store, size_t max, char *buffer, size_t size, size_t *count);

/* The same with their values: behind each key its type, a byte, then a byte for a boolean, eight
 * for a number, and for a text its length, a size_t, and its bytes. All in the machine's order, and
 * not aligned. */
size_t store_entries(struct store *store, size_t max, char *buffer, size_t size, size_t *count);

/* Frees entries whose time is over, a bounded number, so that a worker may call it between its
 * events. False: there are more. Says to the clock when the next sweep of this store is worth it.
 * */
bool store_sweep(struct store *store);

#endif
