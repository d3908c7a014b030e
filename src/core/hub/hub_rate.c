/* hub_rate.c -- the rates of what one client sends: messages and their bytes (the option `rate`),
 * and control frames (`control_rate`).
 *
 * A connection has its buckets from its first message or frame that counts on; where the endpoint
 * has no rate, it has none. Before a message is copied or a script is called, it takes its tokens.
 * If they are missing, the hub closes the connection, or drops the message. With RATE_PAUSE no
 * message finds too few: after each one the hub looks whether the next may come, and otherwise
 * stops reading until the moment at which the tokens are there. */
#include "core/hub/hub_close.h"
#include "core/hub/hub_internal.h"

#include "base/log/log.h"
#include "base/mem.h"

#include <inttypes.h>

struct conn_rate {
    struct token_bucket messages, bytes, control;
    uint64_t at_ms;     /* the buckets are as of this time */
    uint64_t resume_ms; /* the hub does not read before; 0: it reads */
    uint32_t pongs;     /* that have answered a ping of the server */
    bool over;          /* the last message was dropped */
};

void hub_rate_free(struct conn *conn) {
    mem_free(conn->rate);
    conn->rate = NULL;
}

uint64_t hub_rate_resume_ms(const struct conn *conn) {
    return conn->rate == NULL ? 0 : conn->rate->resume_ms;
}

void hub_rate_release(struct conn *conn) {
    if (conn->rate != NULL)
        conn->rate->resume_ms = 0;
}

/* The connection's buckets as of now. */
static struct conn_rate *refilled(const struct hub *hub, struct conn *conn) {
    const struct endpoint *endpoint = conn->endpoint;
    struct conn_rate *rate = conn->rate;
    uint64_t now = hub_now(hub);
    if (rate == NULL) {
        rate = conn->rate = mem_zalloc(sizeof *rate);
        rate->at_ms = now;
    } else if (now > rate->at_ms) {
        token_bucket_refill(&rate->messages, &endpoint->rate.messages, now - rate->at_ms);
        token_bucket_refill(&rate->bytes, &endpoint->rate.bytes, now - rate->at_ms);
        token_bucket_refill(&rate->control, &endpoint->control_rate, now - rate->at_ms);
        rate->at_ms = now;
    }
    return rate;
}

/* ---- messages ---- */

/* For developers, at the first message of a series. */
static void log_limited(const struct conn *conn, const char *action, const char *why) {
    struct log_line line;
    enum log_level level = log_refusal_level();
    if (!log_enabled(level))
        return;
    log_begin_limited(&line, level, "rate_limited");
    log_path(&line, conn->endpoint->path);
    if (!log_is_pretty())
        log_str(&line, "endpoint", conn->endpoint->path);
    log_conn(&line, conn->id);
    log_str(&line, "action", action);
    log_str(&line, "why", why);
    log_end(&line);
}

/* In the counts by endpoint, whose look-up would cost more than a dropped message. */
static void count(struct hub *hub, struct endpoint *endpoint, enum rate_action action) {
    static const char *const names[] = {"close", "drop", "pause"};
    _Atomic uint64_t **counter = &endpoint->rate_counts[action];
    if (*counter == NULL && hub_refusals(hub) != NULL)
        *counter =
            refusals_counter(hub_refusals(hub), REFUSAL_RATE, 0, names[action], endpoint->path);
    if (*counter != NULL)
        atomic_fetch_add_explicit(*counter, 1, memory_order_relaxed);
}

static void drop(struct hub *hub, const struct conn *conn, struct conn_rate *rate) {
    stats_add(&hub->stats.rate_drops, 1);
    count(hub, conn->endpoint, RATE_DROP);
    if (!rate->over)
        log_limited(conn, "drop", "messages are dropped");
    rate->over = true;
}

/* Milliseconds until another message may come. Bytes may be owed: the last message was read whole,
 * however few were left. */
static uint64_t wait_ms(const struct conn_rate *rate, const struct message_rate *limits) {
    uint64_t messages = token_bucket_wait_ms(&rate->messages, &limits->messages, 1);
    uint64_t bytes = token_bucket_wait_ms(&rate->bytes, &limits->bytes, 1);
    return messages > bytes ? messages : bytes;
}

static void pause_if_due(struct hub *hub, struct conn *conn, struct conn_rate *rate) {
    uint64_t ms = wait_ms(rate, &conn->endpoint->rate);
    if (ms == 0 || rate->resume_ms != 0)
        return;
    rate->resume_ms = rate->at_ms + ms;
    stats_add(&hub->stats.rate_pauses, 1);
    count(hub, conn->endpoint, RATE_PAUSE);
    log_limited(conn, "pause", "the server reads no more until the rate allows it");
    hub_set_paused(hub, conn, true);
    hub_timers_arm(hub, conn);
}

bool hub_rate_admit(struct hub *hub, struct conn *conn, size_t len) {
    const struct message_rate *limits = &conn->endpoint->rate;
    struct conn_rate *rate = refilled(hub, conn);
    bool fits = limits->action == RATE_PAUSE ||
                (token_bucket_has(&rate->messages, &limits->messages, 1) &&
                 token_bucket_has(&rate->bytes, &limits->bytes, (double)len));
    if (fits) {
        token_bucket_take(&rate->messages, &limits->messages, 1);
        token_bucket_take(&rate->bytes, &limits->bytes, (double)len);
        rate->over = false;
        if (limits->action == RATE_PAUSE)
            pause_if_due(hub, conn, rate);
    } else if (limits->action == RATE_DROP) {
        drop(hub, conn, rate);
    } else {
        count(hub, conn->endpoint, RATE_CLOSE);
        hub_limits_refuse(hub, conn, CLOSE_POLICY, "rate limit");
    }
    return fits;
}

/* ---- reading again ---- */

void hub_rate_due(struct hub *hub, struct conn *conn) {
    const struct message_rate *limits = &conn->endpoint->rate;
    struct conn_rate *rate = conn->rate;
    uint64_t now = hub_now(hub), ms = now - rate->at_ms, late = now - rate->resume_ms;
    if (now > rate->at_ms) {
        token_bucket_refill_late(&rate->messages, &limits->messages, ms, late);
        token_bucket_refill_late(&rate->bytes, &limits->bytes, ms, late);
        token_bucket_refill(&rate->control, &conn->endpoint->control_rate, ms);
        rate->at_ms = now;
    }
    ms = limits->action == RATE_PAUSE ? wait_ms(rate, limits) : 0;
    rate->resume_ms = ms > 0 ? now + ms : 0;
    /* the inbox may have paused it too (received() in hub.c), and resumes it when it is empty */
    bool must_wait = hub_asks_inbox_full(conn) || hub_limits_is_much(hub);
    if (ms == 0 && (inbox_empty(conn->inbox) || !must_wait))
        hub_set_paused(hub, conn, false);
}

static void fit(struct token_bucket *bucket, const struct token_rate *rate) {
    if (bucket->missing > rate->burst)
        bucket->missing = rate->burst;
}

void hub_rate_reload(struct hub *hub, struct conn *conn) {
    struct conn_rate *rate = conn->rate;
    if (rate == NULL)
        return;
    fit(&rate->messages, &conn->endpoint->rate.messages);
    fit(&rate->bytes, &conn->endpoint->rate.bytes);
    fit(&rate->control, &conn->endpoint->control_rate);
    if (rate->resume_ms != 0) {
        rate->resume_ms = hub_now(hub); /* hub_rate_due() finds the new moment */
        hub_timers_arm(hub, conn);
    }
}

/* ---- control frames ---- */

/* Each ping of the server allows one pong for nothing, so that a script may ping as often as it
 * likes. */
static bool is_answer(struct conn_rate *rate, const struct conn *conn) {
    if (rate->pongs >= conn->ping_number)
        return false;
    rate->pongs++;
    return true;
}

bool hub_rate_admit_control(struct hub *hub, struct conn *conn, bool is_pong) {
    const struct token_rate *limit = &conn->endpoint->control_rate;
    if (limit->burst == 0)
        return true;
    struct conn_rate *rate = refilled(hub, conn);
    if (is_pong && is_answer(rate, conn))
        return true;
    if (token_bucket_has(&rate->control, limit, 1)) {
        token_bucket_take(&rate->control, limit, 1);
        return true;
    }
    hub_limits_refuse(hub, conn, CLOSE_POLICY, "too many control frames");
    return false;
}
