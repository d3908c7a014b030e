/* bus_memory.c -- rooms with a memory, under the bus's lock. See bus.h and room_memory.h.
 *
 * bus_publish() remembers a broadcast in the step in which it posts it, so a replay that was taken
 * before or after has it or has it not, as the connection's mailbox says. */
#include "core/bus/bus_parts.h"

#include "base/clock.h"
#include "core/frames/twin.h"

/* Rooms or messages that one step under the lock forgets or adapts. */
enum { SWEEP_STEPS = 256 };

/* Restored messages may be older than the machine's monotonic clock. */
static uint64_t monotonic_ms(void) {
    return clock_monotonic_ms() + ((uint64_t)1 << 42);
}

static struct memory_time time_now(void) {
    return (struct memory_time){monotonic_ms(), (int64_t)(clock_wall_seconds() * 1000)};
}

/* Under the lock. */
static void note_sweep(struct bus *bus) {
    atomic_store_explicit(&bus->sweep_at, room_memory_sweep_at(&bus->memory), memory_order_relaxed);
}

const atomic_bool *bus_memory_flag(const struct bus *bus) {
    return &bus->remembers;
}

void bus_memory_set(struct bus *bus, const struct room_rule *rules, uint32_t count,
                    size_t max_bytes) {
    uv_mutex_lock(&bus->lock);
    struct wakeups wakeups = {0};
    if (room_memory_set(&bus->memory, rules, count, max_bytes)) {
        bus->logged_memory = false;
        note_sweep(bus);
        if (bus->link != NULL)
            bus_push_rules(bus, &wakeups);
    }
    atomic_store(&bus->remembers, count > 0);
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
}

bool bus_memory_applies(struct bus *bus, struct slice room) {
    uv_mutex_lock(&bus->lock);
    bool applies = room_memory_applies(&bus->memory, room);
    uv_mutex_unlock(&bus->lock);
    return applies;
}

bool bus_memory_limits(struct bus *bus, struct slice room,
                       struct memory_limits limits[MEMORY_KINDS]) {
    uv_mutex_lock(&bus->lock);
    bool applies = room_memory_limits(&bus->memory, room, limits);
    uv_mutex_unlock(&bus->lock);
    return applies;
}

/* A message was remembered; before, so many had been evicted. */
static void note_added(struct bus *bus, uint64_t evicted, struct wakeups *wakeups) {
    if (bus->memory.evicted > evicted && !bus->logged_memory) {
        bus->logged_memory = true;
        wakeups->memory_full = bus->memory.bytes;
    }
    note_sweep(bus);
}

uint64_t bus_remember(struct bus *bus, const struct broadcast *broadcast, struct wakeups *wakeups) {
    struct memory_time now = time_now();
    uint64_t evicted = bus->memory.evicted;
    uint64_t offset = room_memory_add(&bus->memory, broadcast, &now);
    note_added(bus, evicted, wakeups);
    return offset;
}

void bus_remember_numbered(struct bus *bus, const struct broadcast *broadcast,
                           const struct memory_position *position, struct wakeups *wakeups) {
    struct memory_time now = time_now();
    uint64_t evicted = bus->memory.evicted;
    room_memory_add_numbered(&bus->memory, broadcast, position, &now);
    note_added(bus, evicted, wakeups);
}

void bus_link_reset_memory(struct bus *bus, struct slice room, uint64_t epoch, uint64_t offset,
                           uint64_t dropped) {
    uv_mutex_lock(&bus->lock);
    struct memory_time now = time_now();
    room_memory_reset(&bus->memory, room, epoch, offset, dropped, &now);
    uv_mutex_unlock(&bus->lock);
}

void bus_link_clear_retained(struct bus *bus, struct slice room, struct slice key) {
    uv_mutex_lock(&bus->lock);
    struct memory_time now = time_now();
    room_memory_clear(&bus->memory, room, &key, &now);
    uv_mutex_unlock(&bus->lock);
}

void bus_memory_replay(struct bus *bus, unsigned worker, struct slice room,
                       struct replay_request *request, struct replay *replay) {
    uv_mutex_lock(&bus->lock);
    struct memory_time now = time_now();
    uint64_t epoch, offset;
    room_memory_position(&bus->memory, room, &now, &epoch, &offset);
    request->before = mailbox_first_offset(&bus->workers[worker].box, room, epoch);
    room_memory_replay(&bus->memory, room, request, &now, replay);
    note_sweep(bus);
    uv_mutex_unlock(&bus->lock);
}

void bus_memory_list(struct bus *bus, struct slice room, const struct memory_query *query,
                     void (*f)(void *user, const struct remembered *remembered), void *user) {
    uv_mutex_lock(&bus->lock);
    struct memory_time now = time_now();
    room_memory_list(&bus->memory, room, query, &now, f, user);
    uv_mutex_unlock(&bus->lock);
}

bool bus_memory_position(struct bus *bus, struct slice room, uint64_t *epoch, uint64_t *offset) {
    uv_mutex_lock(&bus->lock);
    struct memory_time now = time_now();
    bool remembers = room_memory_position(&bus->memory, room, &now, epoch, offset);
    uv_mutex_unlock(&bus->lock);
    return remembers;
}

void bus_memory_clear(struct bus *bus, struct slice room, const struct slice *key) {
    struct wakeups wakeups = {0};
    uv_mutex_lock(&bus->lock);
    struct memory_time now = time_now();
    room_memory_clear(&bus->memory, room, key, &now);
    if (bus->link != NULL)
        bus_push_clear(bus, room, key, &wakeups);
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
}

int64_t bus_memory_next_ms(const struct bus *bus) {
    uint64_t at = atomic_load_explicit(&bus->sweep_at, memory_order_relaxed);
    if (at == UINT64_MAX)
        return -1;
    uint64_t now = monotonic_ms();
    return at <= now ? 0 : (int64_t)(at - now);
}

void bus_memory_sweep(struct bus *bus) {
    if (bus_memory_next_ms(bus) != 0)
        return;
    uv_mutex_lock(&bus->lock);
    struct memory_time now = time_now();
    if (room_memory_sweep(&bus->memory, &now, SWEEP_STEPS))
        note_sweep(bus);
    uv_mutex_unlock(&bus->lock);
}

/* ---- as bytes ---- */

/* Under the lock. The path stays as long as the bus. */
static const char *path_of(void *user, uint32_t number) {
    const struct bus *bus = user;
    return number < bus->endpoint_count && bus->endpoints[number] != NULL
               ? bus->endpoints[number]->path
               : NULL;
}

/* Under the lock. */
static uint32_t endpoint_of(void *user, struct slice path) {
    const struct bus *bus = user;
    for (uint32_t i = 0; i < bus->endpoint_count; i++)
        if (path_of(user, i) != NULL && slice_is(path, path_of(user, i)))
            return i;
    return ANY_ENDPOINT;
}

static const char *lock_path_of(void *user, uint32_t number) {
    struct bus *bus = user;
    uv_mutex_lock(&bus->lock);
    const char *path = path_of(bus, number);
    uv_mutex_unlock(&bus->lock);
    return path;
}

static uint32_t lock_endpoint_of(void *user, struct slice path) {
    struct bus *bus = user;
    uv_mutex_lock(&bus->lock);
    uint32_t endpoint = endpoint_of(bus, path);
    uv_mutex_unlock(&bus->lock);
    return endpoint;
}

struct endpoint_paths bus_endpoint_paths(struct bus *bus) {
    return (struct endpoint_paths){lock_path_of, lock_endpoint_of, bus};
}

void bus_memory_save(struct bus *bus, struct sink *out) {
    struct endpoint_paths paths = {path_of, endpoint_of, bus};
    uv_mutex_lock(&bus->lock);
    room_memory_save(&bus->memory, &paths, out);
    uv_mutex_unlock(&bus->lock);
}

bool bus_memory_is_one(struct slice from) {
    return room_memory_is_one(from);
}

bool bus_memory_restore(struct bus *bus, struct slice from) {
    struct endpoint_paths paths = {path_of, endpoint_of, bus};
    uv_mutex_lock(&bus->lock);
    struct memory_time now = time_now();
    bool done = room_memory_restore(&bus->memory, &paths, from, &now);
    if (atomic_load(&bus->remembers))
        note_sweep(bus);
    uv_mutex_unlock(&bus->lock);
    return done;
}

/* ---- figures ---- */

void bus_memory_add_to(struct bus *bus, struct stats_total *total) {
    uv_mutex_lock(&bus->lock);
    total->rooms_with_memory = bus->memory.rooms;
    total->room_memory_messages = bus->memory.messages;
    total->room_memory_bytes = bus->memory.bytes + twin_kept_bytes();
    total->room_memory_evictions = bus->memory.evicted;
    uv_mutex_unlock(&bus->lock);
}
