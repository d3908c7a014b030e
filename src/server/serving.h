/* serving.h -- the lines of the log at the start: every address as a URL with the WebSocket
 * endpoints, and that the server is ready. */
#ifndef TIDEWIRE_SERVER_SERVING_H
#define TIDEWIRE_SERVER_SERVING_H

#include "server/listen/listeners.h"

/* Once, when clients are served: where they connect. */
void serving_log(const struct listeners *listeners, const struct app *app);
/* After that: that the server is ready, and how many endpoints, routes and workers it has. */
void serving_log_ready(const struct app *app);

#endif
