/* talk_show.h -- prints the messages that `tidewire talk` receives. */
#ifndef TIDEWIRE_SERVER_CLI_TALK_SHOW_H
#define TIDEWIRE_SERVER_CLI_TALK_SHOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Writes a text. For a terminal, characters that could control it (utf8_is_unsafe(), but for tab
 * and line end) and bytes that are no UTF-8 are written as "\x1b" or "\u{202e}". */
void talk_show_text(FILE *out, const char *bytes, size_t len, bool for_terminal);

/* Writes a text message and a line end. A binary message is written unchanged, or, for a terminal,
 * its first bytes in hexadecimal digits. */
void talk_show_message(FILE *out, const char *bytes, size_t len, bool binary, bool for_terminal);

#endif
