/* serving.h -- the line of the log that says where to go: every address as a URL, and the WebSocket
 * endpoints. */
#ifndef TIDEWIRE_SERVER_SERVING_H
#define TIDEWIRE_SERVER_SERVING_H

#include "server/doors.h"

/* Once, when clients are let in. `admin`: the set of the admin address; NULL: there is none. */
void serving_tell(const struct doors *doors, const struct listen_set *admin, const struct app *app);

#endif
