/* talk_parts.h -- the handshake of `tidewire talk`. Private to talk*.c. */
#ifndef TIDEWIRE_SERVER_CLI_TALK_PARTS_H
#define TIDEWIRE_SERVER_CLI_TALK_PARTS_H

#include "base/buffer.h"
#include "net/client/client_socket.h"
#include "script/vm/settings.h"

enum { TALK_CONNECT_MS = 10000 }; /* for TCP and TLS, and then as long for the handshake */

/* Prints on stderr why there is no connection. Returns EXIT_FAILED. */
int talk_complain(const struct settings *settings, const char *why);

/* Opens the WebSocket. Bytes behind the server's response are left in `rest`. Returns EXIT_CLEAN,
 * or another exit code after the error was printed. */
int talk_open(const struct settings *settings, struct client_socket *server, const struct url *url,
              struct buffer *rest);

#endif
