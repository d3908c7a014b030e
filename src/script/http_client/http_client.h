/* http_client.h -- HTTP requests to other servers, on the worker's loop.
 *
 * Starts transfers (http_transfer.h), lets the loop drive them, and says when one has ended. A
 * request is known by a number that can never point at another one. Nothing in here waits or
 * blocks, and nothing calls into Lua. Everything on the worker's thread. */
#ifndef TIDEWIRE_SCRIPT_HTTP_CLIENT_HTTP_CLIENT_H
#define TIDEWIRE_SCRIPT_HTTP_CLIENT_HTTP_CLIENT_H

#include "script/http_client/http_transfer.h"

#include <uv.h>

struct http_client;

/* A request has ended, well or not. The tag is the one it was started with. Called from the loop,
 * never from inside of a function of this file's. Must not call any of them. */
typedef void (*http_client_done_fn)(void *context, uint64_t tag);

struct http_client *http_client_new(uv_loop_t *loop, http_client_done_fn on_done, void *context);

/* Gives up the requests under way; on_done is not called any more. The loop must run on until its
 * handles are closed. Accepts NULL. */
void http_client_free(struct http_client *client);

/* The request's number; 0 and a sentence when it cannot be started. http_client_end() is owed. */
uint64_t http_client_start(struct http_client *client, const struct http_order *order, uint64_t tag,
                           const char **why_not);

/* What came of it, borrowed until its end; NULL while it is under way, and for stale numbers. */
const struct http_answer *http_client_answer(const struct http_client *client, uint64_t number);

/* Forgets a request, and gives it up if it is under way. Ignores stale numbers. */
void http_client_end(struct http_client *client, uint64_t number);

#endif
