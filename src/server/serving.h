/* serving.h -- the lines of the log at the start: every address as a URL with the WebSocket
 * endpoints, and that the server is ready. */
#ifndef TIDEWIRE_SERVER_SERVING_H
#define TIDEWIRE_SERVER_SERVING_H

#include "server/listeners.h"

/* Once, when clients are let in. */
void serving_tell(const struct listeners *listeners, const struct app *app);
/* After that: how much there is. */
void serving_tell_ready(const struct app *app);

#endif
