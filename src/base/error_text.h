/* error_text.h -- the sentence about an error, in the caller's buffer. */
#ifndef TIDEWIRE_BASE_ERROR_TEXT_H
#define TIDEWIRE_BASE_ERROR_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Where the sentence is written; longer ones are cut. */
struct error_text {
    char *text;
    size_t size; /* bytes, with the NUL */
};

/* Writes the sentence. Returns false, so that a function that fails can return it. */
__attribute__((format(printf, 2, 3))) bool error_text_fail(const struct error_text *error,
                                                           const char *format, ...);

#endif
