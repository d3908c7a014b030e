/* bind_snapshot.h -- bytes of values that are read under a lock, and pushed to Lua afterwards.
 *
 * Making a string may run finalizers of scripts, which may change what is being read. So the bytes
 * are copied first, into a userdata, which is not lost if Lua throws:
 *
 *     struct bind_snapshot snapshot = BIND_SNAPSHOT_FIRST;
 *     do {
 *         bind_snapshot_begin(L, 1, &snapshot);
 *         ... calls bind_snapshot_add() for all values ...
 *     } while (snapshot.used > snapshot.size); */
#ifndef TIDEWIRE_SCRIPT_BIND_BIND_SNAPSHOT_H
#define TIDEWIRE_SCRIPT_BIND_BIND_SNAPSHOT_H

#include <lua.h>
#include <string.h>

struct bind_snapshot {
    char *bytes;
    size_t size, used; /* used > size: bytes are missing */
};

#define BIND_SNAPSHOT_FIRST                                                                        \
    { NULL, 0, 1024 }

/* Makes room above the first `keep` values of the stack for more than the bytes that the snapshot
 * needed last, of which there may be more meanwhile. */
static inline void bind_snapshot_begin(lua_State *L, int keep, struct bind_snapshot *snapshot) {
    size_t size = snapshot->used + snapshot->used / 4;
    lua_settop(L, keep);
    *snapshot = (struct bind_snapshot){(char *)lua_newuserdatauv(L, size, 0), size, 0};
}

static inline void bind_snapshot_add(struct bind_snapshot *snapshot, const void *bytes,
                                     size_t len) {
    if (len > 0 && snapshot->used + len <= snapshot->size)
        memcpy(snapshot->bytes + snapshot->used, bytes, len);
    snapshot->used += len;
}

/* Moves `at` behind the value there, which is copied. */
static inline void bind_snapshot_take(const char **at, void *value, size_t len) {
    memcpy(value, *at, len);
    *at += len;
}

#endif
