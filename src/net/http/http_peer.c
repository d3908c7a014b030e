/* http_peer.c -- the client of an exchange: behind trusted proxies, which name it. See http.h.
 *
 * A trusted proxy begins its connection with a PROXY header, where the option says so. The address
 * in it is the peer from then on. The headers of a request count when the peer is trusted: each
 * request has its own client, although one connection may bring several. The permit counts the
 * connection in the address of that client; before that, in none. */
#include "net/http/http_parts.h"

#include "base/mem.h"
#include "net/socket/proxy_header.h"

#include <string.h>

/* ---- the limits ---- */

/* Closes a connection that gets no answer. */
static void drop(struct http *http, const char *why) {
    stats_add(&http->server->stats->connections_refused, 1);
    http_log_end(http, why);
    http->state = HTTP_ENDING;
    http->keeps = false;
    http_no_deadline(http);
    stream_kill(http->stream);
}

/* Counts the connection, and the bytes that it has sent ahead, in http->remote. False: the request
 * is refused, or the connection is closed. */
static bool set_address(struct http *http) {
    struct admission *admission = http->server->options.admission;
    if (admission == NULL || http->admitted != ADMISSION_GRANTED)
        return true;
    struct byte_limit *uploads = &admission->uploads;
    size_t ahead = http->ahead_held;
    limit_release_bytes(uploads, admission_uploads_of(&http->permit), ahead);
    http->ahead_held = 0;
    http->admitted = admission_set_address(admission, http->remote, &http->permit);
    if (http->admitted == ADMISSION_DROP) {
        drop(http, "too many clients are being refused");
        return false;
    }
    if (http->admitted != ADMISSION_GRANTED || ahead == 0)
        return true; /* on_head() refuses it */
    enum limit_result result =
        limit_take_bytes(uploads, admission_uploads_of(&http->permit), ahead);
    if (result == LIMIT_TAKEN)
        http->ahead_held = ahead;
    else
        http_refuse_upload(http, result);
    return result == LIMIT_TAKEN;
}

bool http_take_rate(struct http *http) {
    struct admission *admission = http->server->options.admission;
    http->rate_is_due = false;
    http->wait_ms = ip_rates_take(admission->ip_rates, IP_RATE_CONNECTIONS, http->remote,
                                  uv_now(http->server->loop));
    if (http->wait_ms > 0)
        http_set_reason(http, "connection_rate");
    if (http->wait_ms > 0 && !http->wants_tls)
        http->admitted = admission_refuse_fast(admission, &http->permit);
    return http->wait_ms == 0 || !http->wants_tls;
}

bool http_take_tls(struct http *http) {
    struct admission *admission = http->server->options.admission;
    if (admission == NULL || admission_take_tls(admission, uv_now(http->server->loop)))
        return true;
    http_set_reason(http, "tls_handshake_rate");
    return false;
}

/* The PROXY header has named the client. False: the connection is closed, or refused. */
static bool admit_client(struct http *http) {
    if (!set_address(http))
        return false;
    if (http->server->options.admission == NULL || http->admitted != ADMISSION_GRANTED)
        return true; /* on_head() refuses it */
    if (!http_take_rate(http))
        drop(http, HTTP_WHY_ADDRESS_FAST);
    else if (http->admitted == ADMISSION_DROP)
        drop(http, "too many clients are being refused");
    else
        return true;
    return false;
}

/* ---- the PROXY header ---- */

void http_refuse_proxy_header(struct http *http, const char *why) {
    http_set_reason(http, "proxy_protocol");
    drop(http, why);
}

static void set_peer(struct http *http, const struct proxy_header *header) {
    if (header->is_unix)
        strcpy(http->peer, "unix");
    else if (header->has_source)
        ip_format(&header->source, http->peer);
    memcpy(http->remote, http->peer, sizeof http->remote);
    http->proxy_is_secure = header->secure;
}

void http_read_proxy_header(struct http *http, char *bytes, size_t len) {
    const struct http_server *server = http->server;
    struct proxy_header header;
    size_t before = http->head_used, room = PROXY_HEADER_MAX - before;
    size_t added = len < room ? len : room;
    http->head = mem_realloc(http->head, before + added);
    memcpy(http->head + before, bytes, added);
    http->head_used += added;
    int result = proxy_header_parse(http->head, http->head_used, &header);
    if (result < 0)
        http_refuse_proxy_header(http, header.error);
    if (result <= 0)
        return;
    http->head_used = 0;
    http->needs_proxy_header = false;
    set_peer(http, &header);
    /* another proxy, which is trusted too, names the client in its request */
    bool is_known =
        header.has_source && !trusted_proxies_has_peer(server->options.proxies, http->peer);
    struct tls_server *tls = http->over_unix ? NULL : server->options.tls;
    http->wants_tls = tls != NULL;
    if (is_known && !admit_client(http))
        return;
    if (tls != NULL && !http_take_tls(http)) {
        drop(http, HTTP_WHY_TLS_FAST);
        return;
    }
    size_t taken = (size_t)result - before;
    stream_begin_client(http->stream, tls, http->peer, bytes + taken, len - taken);
}

/* ---- the headers of a request ---- */

static void read_headers(struct http *http) {
    const struct http_options *options = &http->server->options;
    struct forwarded forwarded;
    forwarded_read(http->request, options->proxies, options->forwarded_header, &forwarded);
    if (forwarded.has_client)
        ip_format(&forwarded.client, http->remote);
    if (forwarded.has_scheme)
        http->secure = forwarded.secure;
    http->forwarded_host = forwarded.host;
}

bool http_find_client(struct http *http) {
    memcpy(http->remote, http->peer, sizeof http->remote);
    http->secure = stream_is_secure(http->stream) || http->proxy_is_secure;
    http->forwarded_host = (struct slice){NULL, 0};
    if (trusted_proxies_has_peer(http->server->options.proxies, http->peer))
        read_headers(http);
    return set_address(http);
}

void http_forget_client(struct http *http) {
    const struct http_options *options = &http->server->options;
    if (options->admission != NULL && trusted_proxies_has_peer(options->proxies, http->peer))
        admission_forget_address(&http->permit);
}
