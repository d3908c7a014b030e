/* upstream_open.c -- opens a connection to another server: its name, its addresses, its handshake.
 * See upstream_parts.h. */
#include "base/mem.h"
#include "net/upstream/upstream_parts.h"

#include <stdio.h>
#include <string.h>
#include <sys/un.h>

enum { HEAD_MAX = 32 * 1024 }; /* bytes of the response's head */

/* ---- the handshake ---- */

static void describe_refusal(const struct ws_client_response *response, char *out, size_t size) {
    if (response->location.len > 0)
        snprintf(out, size, "the server answered %d and redirects to %.*s", response->status,
                 (int)(response->location.len < 200 ? response->location.len : 200),
                 response->location.bytes);
    else
        snprintf(out, size, "the server answered %d", response->status);
}

/* The server has accepted the handshake. */
static void begin_frames(struct upstream *upstream, const struct ws_client_response *response) {
    if (response->protocol.len > 0)
        upstream->chosen = mem_strndup(response->protocol.bytes, response->protocol.len);
    buffer_drop(&upstream->head, response->head_len);
    upstream->was_open = true;
    stats_add(&upstream->shared->stats->upstreams, 1);
    stats_add(&upstream->shared->stats->upstreams_opened, 1);
    upstream->reader.from_server = true;
    upstream->received_ms = upstream_now_ms(upstream);
    upstream->ping_at = upstream->received_ms + upstream->ping_ms;
    upstream_set_step(upstream, STEP_OPEN, 0);
    upstream_ready(upstream, UPSTREAM_MESSAGE); /* the script waits for the state */
    struct buffer rest = upstream->head;
    upstream->head = (struct buffer){0};
    upstream_frames_received(upstream, buffer_start(&rest), rest.len);
    buffer_free(&rest);
}

/* Can the last `len` bytes decide about the response? A server that sends single bytes must not
 * have the whole head parsed for each. */
static bool is_worth_parsing(const struct buffer *head, size_t len) {
    size_t old = head->len - len, from = old < 2 ? 0 : old - 2;
    const char *bytes = buffer_start(head) + from;
    return old < strlen("HTTP/") || head->len >= HEAD_MAX ||
           memmem(bytes, head->len - from, "\n\n", 2) != NULL ||
           memmem(bytes, head->len - from, "\n\r\n", 3) != NULL;
}

static void on_response(struct upstream *upstream, const char *bytes, size_t len) {
    const char *offered[UPSTREAM_SUBPROTOCOLS_MAX];
    const char *name = upstream->subprotocols;
    for (size_t i = 0; i < upstream->subprotocol_count; i++, name += strlen(name) + 1)
        offered[i] = name;
    struct ws_client_options options = {.subprotocols = offered,
                                        .subprotocol_count = upstream->subprotocol_count};
    struct ws_client_response response;
    buffer_add(&upstream->head, bytes, len);
    if (!is_worth_parsing(&upstream->head, len))
        return;
    bool whole = ws_client_read_response(buffer_start(&upstream->head), upstream->head.len,
                                         upstream->key, &options, &response);
    char problem[sizeof upstream->problem];
    if (!whole && upstream->head.len < HEAD_MAX)
        return;
    if (!whole)
        snprintf(problem, sizeof problem, "the head of the server's answer is too large");
    else if (response.fault != NULL)
        snprintf(problem, sizeof problem, "the server's answer is invalid: %s", response.fault);
    else if (response.status != 101) {
        describe_refusal(&response, problem, sizeof problem);
        upstream->http_status = (unsigned)response.status;
    } else {
        begin_frames(upstream, &response);
        return;
    }
    upstream_fail_to_open(upstream, problem);
}

/* ---- the socket ---- */

static void on_opened(void *owner) {
    struct upstream *upstream = owner;
    upstream->step = STEP_HANDSHAKE;
    upstream_arm(upstream);
    buffer_add(&upstream->out, upstream->request, strlen(upstream->request));
    queue_memory_add(upstream->out.capacity);
    upstream_frames_write(upstream);
}

static void on_received(void *owner, char *bytes, size_t len) {
    struct upstream *upstream = owner;
    if (upstream->step == STEP_HANDSHAKE)
        on_response(upstream, bytes, len);
    else
        upstream_frames_received(upstream, bytes, len);
}

static void on_writable(void *owner) {
    upstream_frames_write(owner);
}

static void on_closed(void *owner, const char *why) {
    struct upstream *upstream = owner;
    upstream->socket = NULL;
    if (upstream->step == STEP_CONNECTING && !upstream->closed) {
        upstream_set_problem(upstream, why);
        upstream_arm_now(upstream); /* not inside of the library */
        return;
    }
    if (upstream->step == STEP_HANDSHAKE)
        upstream_fail_to_open(upstream, "the server ended the connection without an answer");
    upstream_set_closed(upstream, CLOSE_ABNORMAL, "", 0);
    upstream_end(upstream);
    upstream_free_when_unused(upstream);
}

static const struct upstream_socket_events socket_events = {on_opened, on_received, on_writable,
                                                            on_closed};

static void connect_to(struct upstream *upstream, const struct sockaddr *address, socklen_t len,
                       const char **why_not) {
    upstream->step = STEP_CONNECTING;
    upstream->socket = upstream_socket_connect(upstream->shared->sockets, address, len,
                                               upstream->tls, &socket_events, upstream, why_not);
}

/* Each address gets its share of the time that is left. `problem` has the last one's. */
void upstream_open_next_address(struct upstream *upstream) {
    const char *why = upstream->problem;
    while (upstream->socket == NULL && upstream->next_address != NULL) {
        uint64_t now = upstream_now_ms(upstream), count = 0;
        for (const struct addrinfo *at = upstream->next_address; at != NULL; at = at->ai_next)
            count++;
        const struct addrinfo *info = upstream->next_address;
        upstream->next_address = info->ai_next;
        if (upstream->deadline_ms > now)
            upstream->attempt_ms = now + (upstream->deadline_ms - now) / count;
        connect_to(upstream, info->ai_addr, info->ai_addrlen, &why);
    }
    if (upstream->socket == NULL)
        upstream_fail_to_open(upstream, why);
    else
        upstream_arm(upstream);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses) {
    struct upstream *upstream = request->data;
    upstream->lookup = NULL;
    mem_free(request);
    if (upstream->step != STEP_RESOLVING) {
        uv_freeaddrinfo(addresses);
        upstream_free_when_unused(upstream);
        return;
    }
    if (status != 0) {
        upstream_fail_to_open(upstream, "could not resolve host");
        return;
    }
    upstream->addresses = upstream->next_address = addresses;
    upstream_set_problem(upstream, "the host has no address");
    upstream_open_next_address(upstream);
}

bool upstream_open_begin(struct upstream *upstream, const char **why_not) {
    if (upstream->url.is_unix) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        *why_not = "the path of the socket is too long";
        if (strlen(upstream->url.host) >= sizeof address.sun_path)
            return false;
        strcpy(address.sun_path, upstream->url.host);
        upstream->attempt_ms = upstream->deadline_ms;
        connect_to(upstream, (struct sockaddr *)&address, sizeof address, why_not);
        return upstream->socket != NULL;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    upstream->lookup = mem_zalloc(sizeof *upstream->lookup);
    upstream->lookup->data = upstream;
    int result = uv_getaddrinfo(upstream->shared->loop, upstream->lookup, on_resolved,
                                upstream->url.host, upstream->url.port, &hints);
    if (result == 0)
        return true;
    mem_free(upstream->lookup);
    upstream->lookup = NULL;
    *why_not = "could not resolve host"; /* its name is too long */
    return false;
}
