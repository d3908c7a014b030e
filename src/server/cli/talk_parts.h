/* talk_parts.h -- the handshake and the output of `tidewire talk`. Private to talk*.c. */
#ifndef TIDEWIRE_SERVER_CLI_TALK_PARTS_H
#define TIDEWIRE_SERVER_CLI_TALK_PARTS_H

#include "base/buffer.h"
#include "net/client/client_socket.h"
#include "script/vm/settings.h"

#include <stdio.h>

/* ---- talk_open.c ---- */

enum { TALK_CONNECT_MS = 10000 }; /* for TCP and TLS, and then as long for the handshake */

/* Prints on stderr why there is no connection. Returns EXIT_FAILED. */
int talk_complain(const struct settings *settings, const char *why);

/* Opens the WebSocket. Bytes behind the server's response are left in `rest`. Returns EXIT_CLEAN,
 * or another exit code after the error was printed. */
int talk_open(const struct settings *settings, struct client_socket *server, const struct url *url,
              struct buffer *rest);

/* ---- talk_show.c ---- */

/* Writes a text. For a terminal, characters that could control it (utf8_is_unsafe(), but for tab
 * and line end) and bytes that are no UTF-8 are written as "\x1b" or "\u{202e}". */
void talk_show_text(FILE *out, const char *bytes, size_t len, bool for_terminal);
/* Writes a text message and a line end. A binary message is written unchanged, or, for a terminal,
 * its first bytes in hexadecimal digits. */
void talk_show_message(FILE *out, const char *bytes, size_t len, bool binary, bool for_terminal);

#endif
