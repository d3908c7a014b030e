/* http_handler.h -- plain HTTP between sockets and scripts; the hub takes no part in it.
 *
 * Two tables of functions, which the worker joins: script/ fills `struct http_handler`, which
 * net/http/http_dispatch.c calls; that fills `struct http_responder`, which script/ calls. Tests
 * pass fakes. Everything happens on the worker's thread. Pointers are borrowed until the call
 * returns. */
#ifndef TIDEWIRE_CORE_HTTP_HTTP_HANDLER_H
#define TIDEWIRE_CORE_HTTP_HTTP_HANDLER_H

#include "base/slice.h"
#include "core/http/tls_options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An HTTP request with a valid head, or a handshake. The head is the request line and the headers
 * up to and with the blank line. */
struct http_request {
    const char *head;
    size_t head_len;
    const char *body; /* NULL: none */
    size_t body_len;
    const char *remote_address; /* numeric, without port; "unix" */
    bool secure;
    struct slice forwarded_host; /* the host that the client has asked for, as a trusted proxy says;
                                    empty: none says it */
    const struct tls_facts *tls; /* NULL: not encrypted by this server */
};

struct http_handler {
    /* A complete request; the script answers by the responder with the same number, now or later.
     */
    void (*request)(void *user, uint64_t number, const struct http_request *request);
    void *user;
};

/* Ignores the numbers of requests whose client is gone. */
struct http_responder {
    /* `headers` are whole "Name: value\r\n" lines or NULL. `why` is for the log, if the server
     * refuses the request before a script sees it; else NULL. */
    void (*respond)(void *user, uint64_t number, int status, const char *headers, const char *body,
                    size_t body_len, const char *why);
    /* Answers with the JSON body that all refusals have, {"error":"why","status":500}. The log does
     * not call it a refusal: the script was asked, and has failed or ends. */
    void (*respond_failure)(void *user, uint64_t number, int status, const char *why);
    /* Answers with a file below `root`; `path` is the part of the URL's path below the mount. */
    void (*respond_file)(void *user, uint64_t number, const char *root, const char *path);
    /* A handshake that net/ holds goes on. */
    void (*go_on)(void *user, uint64_t number);
    void *user;
};

#endif
