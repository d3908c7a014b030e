/* listener.h -- listening sockets: our own, not libwebsockets'.
 *
 * Opens what address_parse() understands, accepts connections on the worker's loop and hands each to
 * an HTTP server. Listens where it was told to and nowhere else. Everything on the worker's thread. */
#ifndef TIDEWIRE_NET_LISTENER_H
#define TIDEWIRE_NET_LISTENER_H

#include "net/http.h"

#include <uv.h>

struct listener;

/* Listens on every socket that `text` stands for and logs each address ("event=listening", with
 * "for=…" where `purpose` is not NULL). NULL with a sentence in `error` when one of them cannot be
 * opened. */
struct listener *listener_open(uv_loop_t *loop, const char *text, const char *purpose,
                               struct http_server *http, char *error, size_t error_size);

/* Stops listening; socket files are removed. Memory is released when the loop has closed the
 * handles. Accepts NULL. */
void listener_close(struct listener *listener);

#endif
