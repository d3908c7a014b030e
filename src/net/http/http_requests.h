/* http_requests.h -- plain requests of one worker to its scripts, and their answers back.
 *
 * Between the worker's HTTP server and the table of functions that the scripts have filled
 * (core/http/http_handler.h). Says in the log which folders of static files cannot be opened.
 * Everything on the worker's thread. */
#ifndef TIDEWIRE_NET_HTTP_HTTP_REQUESTS_H
#define TIDEWIRE_NET_HTTP_HTTP_REQUESTS_H

#include "core/http/http_handler.h"
#include "net/http/http.h"

struct http_requests;

/* Takes the plain requests of the server and counts them in `stats`; both are borrowed. */
struct http_requests *http_requests_new(struct http_server *server, struct stats *stats,
                                        struct http_handler handler);
/* When no request is left. Accepts NULL. */
void http_requests_free(struct http_requests *requests);

/* By which the answers come back, until http_requests_free(). */
struct http_responder http_requests_responder(struct http_requests *requests);

#endif
