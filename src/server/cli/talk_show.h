/* talk_show.h -- how `tidewire talk` shows what a server says. */
#ifndef TIDEWIRE_SERVER_CLI_TALK_SHOW_H
#define TIDEWIRE_SERVER_CLI_TALK_SHOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Writes a text. For a terminal what could steer it (utf8_is_unsafe(), but tab and line end) is
 * written as "\x1b" or
 * "\u{202e}", and so is each byte that is no UTF-8. */
void talk_show_text(FILE *out, const char *bytes, size_t len, bool for_terminal);

/* Writes a message and a line end; a binary one as it is into a pipe, in hexadecimal digits, in
 * part, for a terminal. */
void talk_show_message(FILE *out, const char *bytes, size_t len, bool binary, bool for_terminal);

#endif
