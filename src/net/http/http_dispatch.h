/* http_dispatch.h -- passes the plain requests of one worker to its scripts, and their responses
 * back.
 *
 * Joins the worker's HTTP server with core/http/http_handler.h: calls the functions that the
 * scripts have filled in, and fills in those by which they answer. Logs which folders of static
 * files cannot be opened. Everything on the worker's thread. */
#ifndef TIDEWIRE_NET_HTTP_HTTP_DISPATCH_H
#define TIDEWIRE_NET_HTTP_HTTP_DISPATCH_H

#include "core/http/http_handler.h"
#include "net/http/http.h"

struct http_dispatch;

/* Becomes the server's handler of plain requests, and counts them in `stats`. Borrows both. */
struct http_dispatch *http_dispatch_new(struct http_server *server, struct stats *stats,
                                        struct http_handler handler);
/* When all exchanges have ended. Accepts NULL. */
void http_dispatch_free(struct http_dispatch *dispatch);

/* The functions by which scripts answer, valid until http_dispatch_free(). */
struct http_responder http_dispatch_responder(struct http_dispatch *dispatch);

#endif
