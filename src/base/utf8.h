/* utf8.h -- is this text UTF-8, and which characters are in it?
 *
 * Checks whole messages, as RFC 6455 §8.1 requires for text messages and close reasons. Strict as
 * RFC 3629: no overlong form, no surrogate, nothing above U+10FFFF, no sequence cut short. Owns
 * nothing, any thread. */
#ifndef TIDEWIRE_BASE_UTF8_H
#define TIDEWIRE_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True when the `len` bytes are well-formed UTF-8. An empty text is; NUL is a character like any
 * other. `bytes` may be NULL when `len` is 0. */
bool utf8_valid(const char *bytes, size_t len);

/* The length of the well-formed sequence at the head of `len` bytes, 1 to 4; 0 when there is
 * none. */
size_t utf8_sequence(const char *bytes, size_t len);

/* The character of a well-formed sequence of `len` bytes. */
uint32_t utf8_character(const char *bytes, size_t len);

/* Characters that move the cursor, end a line for some reader, or invisibly change the order or the
 * look of their neighbours: the control characters of C0 and C1, the line separators, the marks,
 * embeddings, overrides and isolates of Unicode's bidirectional algorithm, byte order marks,
 * annotations and tags. Code that shows the text of clients escapes them. */
bool utf8_is_unsafe(uint32_t character);

#endif
