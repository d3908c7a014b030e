/* upstreams.c -- the connections of one worker to other servers. See upstreams.h. */
#include "net/upstream/upstreams.h"

#include "base/mem.h"
#include "base/slots.h"
#include "net/client/url.h"
#include "net/upstream/upstream.h"

struct upstreams {
    struct upstream_shared shared;
    struct slots numbers; /* those that scripts use */
    bool stopped;
};

/* ---- the functions for scripts ---- */

static bool check_url(const char *url, char *error, size_t error_size) {
    struct url parts;
    bool good = url_parse(url, &parts, error, error_size);
    url_close(&parts);
    return good;
}

static uint64_t open_upstream(void *user, const struct upstream_options *options,
                              const char **why_not) {
    struct upstreams *upstreams = user;
    *why_not = "the server is shutting down";
    if (upstreams->stopped)
        return 0;
    *why_not = "this worker has as many connections to other servers as it may have";
    if (upstreams->shared.live >= UPSTREAM_SOCKETS_MAX)
        return 0;
    if (upstreams->shared.sockets == NULL)
        upstreams->shared.sockets = upstream_sockets_new(upstreams->shared.loop, why_not);
    if (upstreams->shared.sockets == NULL)
        return 0;
    struct upstream *upstream = upstream_new(&upstreams->shared, options, why_not);
    return upstream == NULL ? 0 : slots_add(&upstreams->numbers, upstream);
}

static struct upstream *find(void *user, uint64_t number) {
    const struct upstreams *upstreams = user;
    return slots_find(&upstreams->numbers, number);
}

static bool status(void *user, uint64_t number, struct upstream_status *out) {
    struct upstream *upstream = find(user, number);
    if (upstream != NULL)
        upstream_status(upstream, out);
    return upstream != NULL;
}

static enum upstream_sent send_message(void *user, uint64_t number, bool binary,
                                       struct slice payload) {
    struct upstream *upstream = find(user, number);
    return upstream == NULL ? UPSTREAM_SEND_CLOSED : upstream_send(upstream, binary, payload);
}

static bool receive(void *user, uint64_t number, bool *binary, struct slice *payload) {
    struct upstream *upstream = find(user, number);
    return upstream != NULL && upstream_receive(upstream, binary, payload);
}

static void wait(void *user, uint64_t number, enum upstream_event event, upstream_ready_fn on_ready,
                 void *context, uint64_t tag) {
    struct upstream *upstream = find(user, number);
    if (upstream != NULL)
        upstream_wait(upstream, event, on_ready, context, tag);
}

static void close_upstream(void *user, uint64_t number, unsigned code, struct slice reason) {
    struct upstream *upstream = find(user, number);
    if (upstream != NULL)
        upstream_close(upstream, code, reason);
}

static void release(void *user, uint64_t number) {
    struct upstreams *upstreams = user;
    struct upstream *upstream = find(user, number);
    if (upstream == NULL)
        return;
    slots_remove(&upstreams->numbers, number);
    upstream_release(upstream);
}

static void flush(void *user) {
    upstreams_turn(user);
}

struct upstream_functions upstreams_functions(struct upstreams *upstreams) {
    return (struct upstream_functions){
        .check_url = check_url,
        .open = open_upstream,
        .status = status,
        .send = send_message,
        .receive = receive,
        .wait = wait,
        .close = close_upstream,
        .flush = flush,
        .release = release,
        .user = upstreams,
    };
}

/* ---- the worker ---- */

void upstreams_turn(struct upstreams *upstreams) {
    for (struct upstream *upstream;
         (upstream = upstream_first_unwritten(&upstreams->shared)) != NULL;)
        upstream_flush(upstream);
}

void upstreams_drain(struct upstreams *upstreams) {
    upstreams->stopped = true;
    uint32_t at = 0;
    for (struct upstream *upstream; (upstream = slots_next(&upstreams->numbers, &at)) != NULL;)
        upstream_drain(upstream);
}

bool upstreams_are_left(const struct upstreams *upstreams) {
    return upstreams->shared.live > 0;
}

void upstreams_stop(struct upstreams *upstreams) {
    upstreams->stopped = true;
    uint32_t at = 0;
    for (struct upstream *upstream; (upstream = slots_next(&upstreams->numbers, &at)) != NULL;)
        upstream_kill(upstream);
    if (upstreams->shared.sockets != NULL)
        upstream_sockets_stop(upstreams->shared.sockets);
}

void upstreams_free(struct upstreams *upstreams) {
    if (upstreams == NULL)
        return;
    uint32_t at = 0; /* those that no finalizer has released */
    for (struct upstream *upstream; (upstream = slots_next(&upstreams->numbers, &at)) != NULL;)
        upstream_release(upstream);
    upstream_sockets_free(upstreams->shared.sockets);
    client_tls_context_free(upstreams->shared.tls);
    slots_close(&upstreams->numbers);
    mem_free(upstreams);
}

struct upstreams *upstreams_new(uv_loop_t *loop, struct stats *stats) {
    struct upstreams *upstreams = mem_zalloc(sizeof *upstreams);
    upstreams->shared.loop = loop;
    upstreams->shared.stats = stats;
    upstreams->shared.tls = client_tls_context_new();
    list_init(&upstreams->shared.unwritten);
    return upstreams;
}
