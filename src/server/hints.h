/* hints.h -- what was meant by a word of the command line that is none of ours.
 *
 * The nearest of our own names, and what other servers' command lines call the same thing. Pure
 * functions on strings. */
#ifndef TIDEWIRE_SERVER_HINTS_H
#define TIDEWIRE_SERVER_HINTS_H

#include <stddef.h>

/* The nearest name to a word, while candidates are considered. */
struct nearest {
    const char *name; /* NULL: none is near enough */
    size_t distance;  /* at the beginning: 1 more than what is near enough */
};

/* Keeps the name if it is nearer to `word` than what was found so far. */
void hints_consider(struct nearest *nearest, const char *word, const char *name);

/* What takes the place of another server's option, such as "--listen 127.0.0.1:3000" for "--port"
 * with the value "3000", written into `text`. `value` may be NULL. Returns `text`, or NULL: the
 * option is unknown. */
const char *hints_for_option(const char *option, const char *value, char *text, size_t size);

/* What takes the place of another program's command, "init" for example, or of a misspelt one of
 * ours: "tidewire new shop". `rest` is the next word or NULL. Returns `text`, or NULL: nothing is
 * known. */
const char *hints_for_command(const char *word, const char *rest, char *text, size_t size);

#endif
