/* talk_parts.h -- what the files of `tidewire talk` share. Private to talk*.c. */
#ifndef TIDEWIRE_SERVER_CLI_TALK_PARTS_H
#define TIDEWIRE_SERVER_CLI_TALK_PARTS_H

#include "base/buffer.h"
#include "net/client/client_socket.h"
#include "server/settings.h"

enum { TALK_CONNECT_MS = 10000 }; /* for TCP and TLS, and then once more for the handshake */

/* Says on stderr why there is no connection. Returns EXIT_FAILED. */
int talk_complain(const struct settings *settings, const char *why);

/* Opens the WebSocket. What came behind the answer is put into `rest`. Returns EXIT_CLEAN, or the
 * exit code after it was said why there is none. */
int talk_open(const struct settings *settings, struct client_socket *server, const struct url *url,
              struct buffer *rest);

#endif
