/* upstream_parts.h -- one connection to another server. Private to upstream*.c.
 *
 * upstream.c has its life and its time, upstream_open.c opens it, upstream_frames.c has its frames
 * and messages. */
#ifndef TIDEWIRE_NET_UPSTREAM_UPSTREAM_PARTS_H
#define TIDEWIRE_NET_UPSTREAM_UPSTREAM_PARTS_H

#include "base/buffer.h"
#include "core/frames/close_codes.h"
#include "core/frames/frame_reader.h"
#include "core/frames/opcodes.h"
#include "core/frames/queue_memory.h"
#include "net/client/ws_client.h"
#include "net/upstream/upstream.h"

enum step {
    STEP_RESOLVING,
    STEP_CONNECTING,
    STEP_HANDSHAKE,
    STEP_OPEN,
    STEP_CLOSING,   /* our Close frame is queued; the server's has not come */
    STEP_LINGERING, /* nothing of the server counts any more */
    STEP_ENDED      /* there is no socket */
};

/* A message that waits for the script. */
struct upstream_message {
    struct list link;
    size_t len;
    bool binary;
    char bytes[];
};

struct upstream {
    struct upstream_shared *shared;
    struct list unwritten;
    struct url url;
    struct client_tls *tls;
    char *request; /* of the handshake */
    char key[WS_CLIENT_KEY_BYTES];
    char *subprotocols; /* those offered, each with a NUL */
    size_t subprotocol_count;
    char *chosen;                          /* the subprotocol, or NULL */
    uint64_t timeout_ms, ping_ms, pong_ms; /* as in struct upstream_options */
    struct frame_limits limits;
    size_t max_backlog, max_inbox;

    enum step step;
    uv_getaddrinfo_t *lookup; /* NULL: none runs */
    struct addrinfo *addresses, *next_address;
    struct upstream_socket *socket;
    uv_timer_t timer;
    uint64_t deadline_ms;          /* of the whole opening, or of the closing */
    uint64_t attempt_ms;           /* until when the connection to this address is awaited */
    uint64_t received_ms, ping_at; /* the last sign of life; the next ping; loop time */
    struct buffer head, out;
    struct frame_reader reader;
    unsigned char pong[CONTROL_MAX]; /* the answer that waits until `out` is short */
    uint8_t pong_len;
    bool pong_waits, paused;

    struct list inbox; /* struct upstream_message */
    size_t inbox_bytes;
    struct upstream_message *taken; /* the last one that the script took */

    bool closed; /* the script knows, or will */
    bool was_open;
    char problem[300];
    unsigned http_status; /* of a refusal; else 0 */
    unsigned code;
    char reason[CLOSE_REASON_MAX];
    size_t reason_len;

    struct {
        upstream_ready_fn on_ready;
        void *context;
        uint64_t tag;
    } waiting[UPSTREAM_EVENTS];
    bool released, timer_closed;
};

static inline uint64_t upstream_now_ms(const struct upstream *upstream) {
    return uv_now(upstream->shared->loop);
}

/* ---- upstream.c ---- */

/* Calls the function that waits for this event, if there is one. */
void upstream_ready(struct upstream *upstream, enum upstream_event event);
/* The first code counts: that of the side which has begun to close. */
void upstream_set_code(struct upstream *upstream, unsigned code, const char *reason, size_t len);
/* The script sees the end. Does nothing if it does so already. */
void upstream_set_closed(struct upstream *upstream, unsigned code, const char *reason, size_t len);
/* Goes to a step that lasts so long at most. */
void upstream_set_step(struct upstream *upstream, enum step step, uint64_t ms);
/* Starts the timer for the next deadline of the step. */
void upstream_arm(struct upstream *upstream);
/* The timer fires in the next turn. */
void upstream_arm_now(struct upstream *upstream);
void upstream_set_problem(struct upstream *upstream, const char *problem);
void upstream_fail_to_open(struct upstream *upstream, const char *problem);
/* There is no socket any more. Frees what only a connection needs. */
void upstream_end(struct upstream *upstream);
/* Frees the queue of what is to be sent. */
void upstream_free_out(struct upstream *upstream);
void upstream_free_when_unused(struct upstream *upstream);

/* ---- upstream_open.c ---- */

/* Begins to look up the name. False and a sentence if that fails. */
bool upstream_open_begin(struct upstream *upstream, const char **why_not);
/* Connects to the next address. Without one, the opening has failed with `problem`. */
void upstream_open_next_address(struct upstream *upstream);

/* ---- upstream_frames.c ---- */

void upstream_frames_write(struct upstream *upstream);
/* Bytes of the server, behind its response. */
void upstream_frames_received(struct upstream *upstream, char *bytes, size_t len);
void upstream_frames_ping(struct upstream *upstream);
/* Begins the closing handshake of an open one. */
void upstream_frames_close(struct upstream *upstream, unsigned code, const char *reason,
                           size_t len);
void upstream_frames_free_inbox(struct upstream *upstream);

#endif
