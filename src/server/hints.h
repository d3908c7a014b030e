/* hints.h -- suggestions for an unknown option or command.
 *
 * Finds the nearest of Tidewire's names, and the one that means what an option or command of other
 * servers means. Pure functions on strings. */
#ifndef TIDEWIRE_SERVER_HINTS_H
#define TIDEWIRE_SERVER_HINTS_H

#include <stddef.h>

/* The nearest name to a word, while candidates are compared. */
struct nearest {
    const char *name; /* NULL: none is near enough */
    size_t distance;  /* at the start: the smallest distance that is too far */
};

/* Keeps the name if it is nearer to `word` than the nearest so far. */
void hints_consider(struct nearest *nearest, const char *word, const char *name);

/* Writes the suggestion for another server's option into `text`: "did you mean --listen
 * 127.0.0.1:3000?" for "--port" with the value "3000". `value` may be NULL. Returns `text`, or
 * NULL: there is none. */
const char *hints_for_option(const char *option, const char *value, char *text, size_t size);

/* Writes the suggestion for another program's command, such as "init", or for a misspelt one into
 * `text`: "did you mean tidewire new shop?". `rest`: the next argument, or NULL. Returns `text`, or
 * NULL: there is none. */
const char *hints_for_command(const char *word, const char *rest, char *text, size_t size);

#endif
