/* encodings_pack.h -- the encodings of one value as bytes, and back, on another machine or in a
 * later process.
 *
 * First their number; of each its codec, its opcode and flags, and its payload. A codec of a script
 * has the path of its endpoint, which is the same on every machine. Owns nothing but the messages
 * that it makes; any thread. */
#ifndef TIDEWIRE_CORE_BUS_ENCODINGS_PACK_H
#define TIDEWIRE_CORE_BUS_ENCODINGS_PACK_H

#include "base/packing.h"
#include "core/bus/broadcast.h"

/* The endpoints' paths, which are the same in each process. */
struct endpoint_paths {
    const char *(*path_of)(void *user, uint32_t endpoint);
    uint32_t (*endpoint_of)(void *user, struct slice path); /* ANY_ENDPOINT: none has it */
    void *user;
};

/* The most encodings of a value. */
enum { ENCODINGS_MAX = 256 };

struct encodings {
    uint32_t count;
    struct encoding list[ENCODINGS_MAX];
};

/* Packs those that have a message, ENCODINGS_MAX at most. */
void encodings_pack(struct sink *out, const struct encoding *encodings, uint32_t count,
                    const struct endpoint_paths *paths);

/* Takes encodings from the beginning of `from`: at least one. Each message has a reference of its
 * own and the key (no bytes: none); it is NULL where this process has no such codec, and for each
 * encoding when `paths` is NULL: then the bytes are only checked. False: they are damaged, and
 * there is nothing to release. */
bool encodings_unpack(struct slice *from, const struct endpoint_paths *paths, struct slice key,
                      struct encodings *encodings);
/* Drops the references to the messages. */
void encodings_release(struct encodings *encodings);

/* Packs the path of an endpoint, no bytes for ANY_ENDPOINT. */
void encodings_pack_path(struct sink *out, const struct endpoint_paths *paths, uint32_t endpoint);
/* Does the path name an endpoint of this process, or no endpoint at all? */
bool encodings_find_path(const struct endpoint_paths *paths, struct slice path, uint32_t *endpoint);

#endif
