/* http_client.h -- HTTP requests to other servers, on the worker's loop.
 *
 * Starts transfers (http_transfer.h), lets the loop drive them, and calls back when one has ended.
 * A request has a number that no other one gets. Nothing here waits or blocks, and nothing calls
 * Lua. Everything runs on the worker's thread. */
#ifndef TIDEWIRE_SCRIPT_HTTP_CLIENT_HTTP_CLIENT_H
#define TIDEWIRE_SCRIPT_HTTP_CLIENT_HTTP_CLIENT_H

#include "script/http_client/http_transfer.h"

#include <uv.h>

struct http_client;

/* A request has ended, with a response or a failure. The tag is the one of http_client_start().
 * Called from the loop, never inside of a function of this file, and may call none of them. */
typedef void (*http_client_done_fn)(void *context, uint64_t tag);

struct http_client *http_client_new(uv_loop_t *loop, http_client_done_fn on_done, void *context);

/* Cancels all requests; on_done is not called for them. The loop must run until the handles are
 * closed. Accepts NULL. */
void http_client_free(struct http_client *client);

/* Returns the request's number, for which the caller calls http_client_end() later; 0 and a
 * sentence if it cannot be started. */
uint64_t http_client_start(struct http_client *client, const struct http_client_request *request,
                           uint64_t tag, const char **why_not);

/* The response of a request that has ended, borrowed until http_client_end(); else NULL. */
const struct http_client_response *http_client_response(const struct http_client *client,
                                                        uint64_t number);

/* Frees a request; cancels it if it has not ended. Ignores numbers of freed ones. */
void http_client_end(struct http_client *client, uint64_t number);

#endif
