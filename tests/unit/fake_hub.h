/* fake_hub.h -- a hub without sockets, scripts or a loop: a fake wire, fake hooks, a clock moved by
 * hand.
 *
 * Clients are called a, b, c… in the order of their admission. Every hook is noted in a journal
 * that fake_expect() compares: "a.open a.message(hi) a.close(1000,bye) a.forgotten". Whatever a
 * test does, the fakes watch the promises of hub.h: hooks of one client never overlap and none runs
 * inside another, on_start comes first, on_close once and last, forgotten comes once, the wire
 * is not written to while it is blocked or after its end. Included by the tests of core/hub;
 * nothing here is shared between processes or threads. */
#ifndef TESTS_UNIT_FAKE_HUB_H
#define TESTS_UNIT_FAKE_HUB_H

#include "base/log/log.h"
#include "base/mem.h"
#include "core/hub/hub.h"
#include "core/hub/hub_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum fake_hook {
    FAKE_OPEN = 1,
    FAKE_MESSAGE = 2,
    FAKE_PING = 4,
    FAKE_TIMEOUT = 8,
    FAKE_DRAIN = 16,
    FAKE_CLOSE = 32,
    FAKE_RELOAD = 64,
    FAKE_DISCONNECT = 128,
    FAKE_RESUME = 256,
    FAKE_ALL = 511
};

struct fake;

struct fake_client {
    struct fake *fake;
    conn_id id;
    struct conn *conn; /* that its socket belongs to; NULL when its socket is gone */
    char name;
    void *model; /* the test's own */

    /* the socket: what it takes before it is full, and what it was given */
    size_t room;
    unsigned char *bytes;
    size_t len, seen, capacity;
    int writes;
    bool blocked, paused, ended, killed, discarded;
    bool has_end; /* the client has ended it already */
    uint64_t quiet_ms;

    /* the script */
    bool opened, sleeping, closed, forgotten;
};

enum { FAKE_MAX_CLIENTS = 20000, FAKE_JOURNAL = 64 * 1024 };

struct fake {
    struct hub *hub;
    struct limit limit;
    uint64_t now_ms, start_ms;
    struct fake_client **clients;
    uint32_t count;
    unsigned sleeps; /* enum fake_hook: these sleep until fake_wake() */
    /* What a hook does while it runs; NULL: nothing. `bytes` of a message. */
    void (*during)(struct fake_client *client, enum fake_hook hook, const char *bytes, size_t len);
    bool timed;   /* the journal has the milliseconds since the start: "100:a.ping" */
    bool silent;  /* no journal */
    bool running; /* a hook runs now */
    char journal[FAKE_JOURNAL];
    size_t journal_len;
};

static inline uint64_t fake_now(void *clock) {
    return ((struct fake *)clock)->now_ms;
}

static inline struct fake_client *fake_find(struct fake *f, const struct conn *conn) {
    for (uint32_t i = f->count; i-- > 0;)
        if (f->clients[i]->id == conn->id)
            return f->clients[i];
    return NULL;
}

static inline struct fake_client *fake_client(struct fake *f, const struct conn *conn) {
    struct fake_client *client = fake_find(f, conn);
    if (client == NULL)
        fail_msg("no client has the id %llx", (unsigned long long)conn->id);
    return client;
}

/* ---- hooks ---- */

static inline void fake_note(struct fake_client *client, const char *what) {
    struct fake *f = client->fake;
    if (f->silent)
        return;
    char *end = f->journal + f->journal_len;
    size_t room = sizeof f->journal - f->journal_len;
    const char *blank = f->journal_len > 0 ? " " : "";
    int len = f->timed ? snprintf(end, room, "%s%llu:%c.%s", blank,
                                  (unsigned long long)(f->now_ms - f->start_ms), client->name, what)
                       : snprintf(end, room, "%s%c.%s", blank, client->name, what);
    assert_in_range(len, 1, room - 1);
    f->journal_len += (size_t)len;
}

static inline enum hook_state fake_run(struct fake *f, const struct conn *conn, enum fake_hook hook,
                                       const char *bytes, size_t len) {
    struct fake_client *client = fake_client(f, conn);
    assert_false(f->running);
    assert_false(client->sleeping);
    assert_false(client->closed);
    assert_false(client->forgotten);
    assert_int_equal(client->opened, hook != FAKE_OPEN);
    if (hook == FAKE_OPEN)
        client->opened = true;
    if (hook == FAKE_CLOSE)
        client->closed = true;
    f->running = true;
    if (f->during != NULL)
        f->during(client, hook, bytes, len);
    f->running = false;
    client->sleeping = (f->sleeps & hook) != 0;
    return client->sleeping ? HOOK_SLEEPS : HOOK_DONE;
}

static inline enum hook_state fake_opened(void *user, struct conn *conn) {
    fake_note(fake_client(user, conn), "open");
    return fake_run(user, conn, FAKE_OPEN, NULL, 0);
}

static inline enum hook_state fake_message(void *user, struct conn *conn, const char *bytes,
                                           size_t len, bool binary) {
    char text[64];
    snprintf(text, sizeof text, "%s(%.*s)", binary ? "binary" : "message", len > 40 ? 40 : (int)len,
             bytes);
    fake_note(fake_client(user, conn), text);
    return fake_run(user, conn, FAKE_MESSAGE, bytes, len);
}

static inline enum hook_state fake_pinged(void *user, struct conn *conn) {
    fake_note(fake_client(user, conn), "ping");
    return fake_run(user, conn, FAKE_PING, NULL, 0);
}

static inline enum hook_state fake_timeout(void *user, struct conn *conn) {
    fake_note(fake_client(user, conn), "timeout");
    return fake_run(user, conn, FAKE_TIMEOUT, NULL, 0);
}

static inline enum hook_state fake_drained(void *user, struct conn *conn) {
    fake_note(fake_client(user, conn), "drain");
    return fake_run(user, conn, FAKE_DRAIN, NULL, 0);
}

static inline enum hook_state fake_reloaded(void *user, struct conn *conn) {
    fake_note(fake_client(user, conn), "reload");
    return fake_run(user, conn, FAKE_RELOAD, NULL, 0);
}

/* Handled as if it were one of the heartbeat. */
static inline void fake_dropped(void *user, struct conn *conn, const char *bytes, size_t len) {
    char text[64];
    snprintf(text, sizeof text, "dropped(%.*s)", len > 40 ? 40 : (int)len, bytes);
    fake_note(fake_client(user, conn), text);
    hub_json_heartbeat(((struct fake *)user)->hub, conn->id, -1);
}

static inline enum hook_state fake_disconnected(void *user, struct conn *conn, unsigned code) {
    char text[32];
    snprintf(text, sizeof text, "disconnect(%u)", code);
    fake_note(fake_client(user, conn), text);
    return fake_run(user, conn, FAKE_DISCONNECT, NULL, 0);
}

static inline enum hook_state fake_resumed(void *user, struct conn *conn, struct conn *next) {
    char text[32];
    snprintf(text, sizeof text, "resume(%c)", fake_client(user, next)->name);
    fake_note(fake_client(user, conn), text);
    return fake_run(user, conn, FAKE_RESUME, NULL, 0);
}

static inline enum hook_state fake_closed(void *user, struct conn *conn, unsigned code,
                                          const char *reason, size_t len) {
    char text[160];
    snprintf(text, sizeof text, len > 0 ? "close(%u,%.*s)" : "close(%u)", code, (int)len, reason);
    fake_note(fake_client(user, conn), text);
    return fake_run(user, conn, FAKE_CLOSE, reason, len);
}

static inline void fake_forgotten(void *user, struct conn *conn) {
    struct fake_client *client = fake_find(user, conn);
    if (client == NULL) { /* a session's, to close a socket; or no session after all */
        assert_true(conn->refused || conn->endpoint == NULL);
        return;
    }
    fake_note(client, "forgotten");
    assert_false(client->forgotten);
    client->forgotten = true;
    if (client->conn == conn)
        client->conn = NULL;
}

/* Somebody joined (+) or left (-) a room that this worker watches; it may be of another worker. */
static inline void fake_presence_changed(void *user, const struct presence *presence) {
    struct fake *f = user;
    const char *info = presence->info;
    int len = snprintf(f->journal + f->journal_len, sizeof f->journal - f->journal_len,
                       "%s%c%.*s(%u,%s,%s)", f->journal_len > 0 ? " " : "",
                       presence->change == PRESENCE_JOINED ? '+' : '-', (int)presence->room.len,
                       presence->room.bytes, conn_id_slot(presence->id), presence->endpoint_name,
                       info == NULL ? "" : info);
    f->journal_len += (size_t)len;
}

static const struct hub_events fake_events = {
    .presence_changed = fake_presence_changed,
    .opened = fake_opened,
    .message = fake_message,
    .ping = fake_pinged,
    .timeout = fake_timeout,
    .drained = fake_drained,
    .reloaded = fake_reloaded,
    .dropped = fake_dropped,
    .disconnected = fake_disconnected,
    .resumed = fake_resumed,
    .closed = fake_closed,
    .forgotten = fake_forgotten,
};

/* The hook that sleeps has ended. */
static inline void fake_wake(struct fake_client *client) {
    assert_true(client->sleeping);
    client->sleeping = false;
    hub_hook_done(client->fake->hub, client->id);
}

/* ---- the wire ---- */

static inline struct fake_client *fake_peer(void *peer) {
    struct fake_client *client = peer;
    assert_non_null(client);
    assert_non_null(client->conn); /* a socket that is gone is asked for nothing */
    return client;
}

static inline size_t fake_write(void *peer, const unsigned char *bytes, size_t len) {
    struct fake_client *client = fake_peer(peer);
    assert_true(len > 0);
    assert_false(client->blocked); /* hub_writable() comes first */
    assert_false(client->ended);
    size_t taken = len < client->room ? len : client->room;
    if (client->room != SIZE_MAX)
        client->room -= taken;
    if (client->len + taken > client->capacity) {
        client->capacity = (client->len + taken) * 2;
        client->bytes = mem_realloc(client->bytes, client->capacity);
    }
    if (taken > 0)
        memcpy(client->bytes + client->len, bytes, taken);
    client->len += taken;
    client->writes++;
    client->blocked = taken < len;
    return taken;
}

static inline void fake_pause(void *peer, bool paused) {
    fake_peer(peer)->paused = paused;
}

static inline void fake_end(void *peer) {
    struct fake_client *client = fake_peer(peer);
    assert_false(client->ended);
    client->ended = true;
}

static inline void fake_kill(void *peer) {
    fake_peer(peer)->killed = true;
}

static inline void fake_discard(void *peer) {
    fake_peer(peer)->discarded = true;
}

static inline void fake_rebind(void *peer, struct conn *conn) {
    fake_peer(peer)->conn = conn;
}

static inline bool fake_has_end(void *peer) {
    return fake_peer(peer)->has_end;
}

static inline uint64_t fake_quiet(void *peer) {
    return fake_peer(peer)->quiet_ms;
}

static const struct wire fake_wire = {
    .write = fake_write,
    .pause = fake_pause,
    .end = fake_end,
    .kill = fake_kill,
    .discard = fake_discard,
    .rebind = fake_rebind,
    .has_end = fake_has_end,
    .quiet_ms = fake_quiet,
};

/* The socket takes `bytes` more. */
static inline void fake_takes(struct fake_client *client, size_t bytes) {
    client->room = bytes == SIZE_MAX || client->room == SIZE_MAX ? SIZE_MAX : client->room + bytes;
    if (client->blocked) {
        client->blocked = false;
        hub_writable(client->fake->hub, client->conn);
    }
}

/* ---- life ---- */

/* An endpoint with all hooks and no periods; 1,000 bytes of backlog. */
static inline struct endpoint fake_endpoint(void) {
    return (struct endpoint){.max_message_size = 1 << 20,
                             .max_fragments = 1 << 20,
                             .max_backlog = 1000,
                             .has_message = true,
                             .has_ping = true,
                             .has_timeout = true,
                             .has_drain = true};
}

/* A hub with this one endpoint, number 0 (NULL: fake_endpoint()), as one of several workers. */
static inline struct fake *fake_new_worker(const struct endpoint *endpoint, struct bus *bus,
                                           unsigned worker) {
    log_set_level(LOG_ERROR); /* what clients do wrong is what is tried here */
    struct fake *f = mem_zalloc(sizeof *f);
    f->clients = mem_zalloc(FAKE_MAX_CLIENTS * sizeof *f->clients);
    f->now_ms = f->start_ms = 1000000;
    atomic_init(&f->limit.max, 100);
    f->hub = hub_new(&(struct hub_options){
        .worker = worker, .bus = bus, .limit = &f->limit, .now_ms = fake_now, .clock = f});
    hub_set_events(f->hub, &fake_events, f);
    hub_set_wire(f->hub, &fake_wire);
    struct endpoint plain = fake_endpoint();
    assert_int_equal(hub_add_endpoint(f->hub, endpoint == NULL ? &plain : endpoint), 0);
    return f;
}

/* A hub that is the only one. */
static inline struct fake *fake_new(const struct endpoint *endpoint) {
    return fake_new_worker(endpoint, NULL, 3);
}

/* A connection in its handshake, or NULL. */
static inline struct fake_client *fake_admit(struct fake *f) {
    struct conn *conn = hub_admit(f->hub, false);
    if (conn == NULL)
        return NULL;
    assert_in_range(f->count, 0, FAKE_MAX_CLIENTS - 1);
    for (uint32_t i = 0; i < f->count; i++)
        assert_true(f->clients[i]->id != conn->id);
    struct fake_client *client = mem_zalloc(sizeof *client);
    *client = (struct fake_client){.fake = f,
                                   .id = conn->id,
                                   .conn = conn,
                                   .name = (char)('a' + f->count % 26),
                                   .room = SIZE_MAX,
                                   .quiet_ms = UINT64_MAX};
    f->clients[f->count++] = client;
    return client;
}

/* A client whose handshake was accepted and whose on_start has not run: that comes with the turn's
 * end. */
static inline struct fake_client *fake_open(struct fake *f) {
    struct fake_client *client = fake_admit(f);
    hub_assign(f->hub, client->conn, 0);
    hub_open(f->hub, client->conn, client);
    return client;
}

/* The script has accepted the client's handshake, which may be one of a session. */
static inline void fake_opens(struct fake_client *client) {
    hub_session_arrive(client->fake->hub, client->conn, client->quiet_ms, client->has_end);
    hub_open(client->fake->hub, client->conn, client);
}

/* Ends turns until nothing waits for another. */
static inline void fake_turn(struct fake *f) {
    int turns = 0;
    do {
        hub_turn_end(f->hub);
        assert_in_range(++turns, 0, 1000);
    } while (hub_has_pending(f->hub));
}

/* A client whose on_start was called, and the journal without it. */
static inline struct fake_client *fake_connect(struct fake *f) {
    struct fake_client *client = fake_open(f);
    fake_turn(f);
    f->journal_len = 0;
    return client;
}

static inline void fake_receive(struct fake_client *client, const char *text) {
    hub_received(client->fake->hub, client->conn, text, strlen(text), false);
}

static inline void fake_gone(struct fake_client *client) {
    struct conn *conn = client->conn;
    client->conn = NULL;
    hub_gone(client->fake->hub, conn, CLOSE_ABNORMAL);
}

/* Moves the clock to a time after the start, stopping wherever the hub wants to be called. */
static inline void fake_until(struct fake *f, uint64_t ms) {
    uint64_t now_ms = f->start_ms + ms;
    for (int64_t next;
         (next = hub_next_timer_ms(f->hub)) >= 0 && f->now_ms + (uint64_t)next <= now_ms;) {
        f->now_ms += (uint64_t)next;
        hub_run_timers(f->hub);
        fake_turn(f);
    }
    f->now_ms = now_ms;
}

static inline void fake_pass(struct fake *f, uint64_t ms) {
    fake_until(f, f->now_ms - f->start_ms + ms);
}

/* What happened since the last time. */
static inline void fake_expect(struct fake *f, const char *journal) {
    f->journal[f->journal_len] = '\0';
    assert_string_equal(f->journal, journal);
    f->journal_len = 0;
}

/* The end: the sockets that are left go, and then nothing is. */
static inline void fake_free(struct fake *f) {
    for (uint32_t i = 0; i < f->count; i++)
        if (f->clients[i]->conn != NULL)
            fake_gone(f->clients[i]);
    f->silent = true;
    hub_end(f->hub);
    if (f->hub->options.bus != NULL)
        bus_leave(f->hub->options.bus, f->hub->options.worker);
    assert_int_equal(hub_admitted(f->hub), 0);
    assert_int_equal(f->hub->unhandled_bytes, 0);
    for (uint32_t i = 0; f->hub->options.bus == NULL && hub_endpoint(f->hub, i) != NULL; i++)
        assert_int_equal(hub_endpoint(f->hub, i)->limit->taken, 0);
    assert_int_equal(stats_read(&f->hub->stats.connections), 0);
    assert_int_equal(stats_read(&f->hub->stats.connections_opened),
                     stats_read(&f->hub->stats.connections_closed));
    hub_free(f->hub);
    for (uint32_t i = 0; i < f->count; i++) {
        struct fake_client *client = f->clients[i];
        assert_true(client->forgotten);
        assert_true(client->closed || !client->opened || client->sleeping); /* asleep: given up */
        mem_free(client->bytes);
        mem_free(client);
    }
    mem_free(f->clients);
    mem_free(f);
}

/* ---- sending ---- */

/* Sends `len` times the letter, as a message for this client or as a shared one. */
static inline enum send_result fake_send(struct fake_client *client, bool shared, char letter,
                                         size_t len) {
    struct hub *hub = client->fake->hub;
    char *text = mem_alloc(len + 1);
    memset(text, letter, len);
    struct message *message = message_new(OPCODE_TEXT, text, len);
    enum send_result result = shared ? hub_send_deliver(hub, client->conn, message)
                                     : hub_send(hub, client->conn, OPCODE_TEXT, text, len);
    message_unref(message);
    mem_free(text);
    return result;
}

static inline void fake_send_ok(struct fake_client *client, char letter, size_t len) {
    assert_int_equal(fake_send(client, false, letter, len), SEND_OK);
}

/* A client whose socket is full, with `count` frames of 100 bytes in its queue: a, b, c… */
static inline struct fake_client *fake_connect_slow(struct fake *f, int count, bool shared) {
    struct fake_client *client = fake_connect(f);
    client->room = 0;
    for (int i = 0; i < count; i++)
        assert_int_equal(fake_send(client, shared, (char)('a' + i), 98), SEND_OK);
    fake_turn(f);
    assert_true(client->blocked);
    assert_int_equal(client->conn->out.bytes, count * 100);
    return client;
}

/* ---- what a client has got ---- */

static inline const char *fake_frame_name(unsigned opcode) {
    switch (opcode) {
    case 1:
        return "text";
    case 2:
        return "binary";
    case 8:
        return "close";
    case 9:
        return "ping";
    case 10:
        return "pong";
    }
    fail_msg("a frame with opcode %u", opcode);
    return NULL;
}

/* The frame at `bytes`, as "text(hi)", "close(1000,bye)", "binary[70000]". Returns its length; 0
 * when it is not whole. */
static inline size_t fake_frame(const unsigned char *bytes, size_t len, char *text, size_t size) {
    if (len < 2)
        return 0;
    assert_int_equal(bytes[0] & 0xf0, 0x80); /* whole, and no reserved bit */
    size_t header = bytes[1] < 126 ? 2 : bytes[1] == 126 ? 4 : 10, payload = bytes[1];
    if (len < header)
        return 0;
    if (header > 2)
        payload = 0;
    for (size_t i = 2; i < header; i++)
        payload = payload << 8 | bytes[i];
    if (len - header < payload)
        return 0;
    const char *name = fake_frame_name(bytes[0] & 0x0f), *at = (const char *)bytes + header;
    if ((bytes[0] & 0x0f) == 8 && payload >= 2)
        snprintf(text, size, payload > 2 ? "%s(%u,%.*s)" : "%s(%u)", name,
                 (unsigned)bytes[header] << 8 | bytes[header + 1], (int)payload - 2, at + 2);
    else if (payload > 300)
        snprintf(text, size, "%s[%zu]", name, payload);
    else
        snprintf(text, size, "%s(%.*s)", name, (int)payload, at);
    return header + payload;
}

/* The frames that were written since the last time; a last one that is not whole is "…". */
static inline void fake_expect_frames(struct fake_client *client, const char *frames) {
    static char all[FAKE_JOURNAL];
    size_t used = 0;
    all[0] = '\0';
    while (client->seen < client->len) {
        char text[320];
        size_t n =
            fake_frame(client->bytes + client->seen, client->len - client->seen, text, sizeof text);
        if (n == 0)
            strcpy(text, "…");
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", used > 0 ? " " : "", text);
        assert_in_range(used, 1, sizeof all - 1);
        if (n == 0)
            break;
        client->seen += n;
    }
    assert_string_equal(all, frames);
}

#endif
