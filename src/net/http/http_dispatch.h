/* http_dispatch.h -- plain requests of one worker to its scripts, and their answers back.
 *
 * Between the worker's HTTP server and the table of functions that the scripts have filled
 * (core/http/http_handler.h). Says in the log which folders of static files cannot be opened.
 * Everything on the worker's thread. */
#ifndef TIDEWIRE_NET_HTTP_HTTP_DISPATCH_H
#define TIDEWIRE_NET_HTTP_HTTP_DISPATCH_H

#include "core/http/http_handler.h"
#include "net/http/http.h"

struct http_dispatch;

/* Takes the plain requests of the server and counts them in `stats`; both are borrowed. */
struct http_dispatch *http_dispatch_new(struct http_server *server, struct stats *stats,
                                        struct http_handler handler);
/* When no request is left. Accepts NULL. */
void http_dispatch_free(struct http_dispatch *requests);

/* By which the answers come back, until http_dispatch_free(). */
struct http_responder http_dispatch_responder(struct http_dispatch *requests);

#endif
