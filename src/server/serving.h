/* serving.h -- the line of the log that says where to go: every address as a URL, and the WebSocket
 * endpoints. */
#ifndef TIDEWIRE_SERVER_SERVING_H
#define TIDEWIRE_SERVER_SERVING_H

#include "server/listeners.h"

/* Once, when clients are let in. */
void serving_tell(const struct listeners *listeners, const struct app *app);

#endif
