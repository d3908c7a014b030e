/* serving.h -- the log lines of the start: the URLs of all addresses with the WebSocket endpoints,
 * and that the server is ready. */
#ifndef TIDEWIRE_SERVER_SERVING_H
#define TIDEWIRE_SERVER_SERVING_H

#include "server/listen/listeners.h"

/* Logs where clients connect. Once, when the workers accept. */
void serving_log(const struct listeners *listeners, const struct app *app);
/* Logs, after that, that the server is ready, and how many endpoints, routes and workers it has. */
void serving_log_ready(const struct app *app);

#endif
