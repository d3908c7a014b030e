/* error_text.c -- the sentence about an error, in the caller's buffer. See error_text.h. */
#include "base/error_text.h"

#include <stdarg.h>
#include <stdio.h>

bool error_text_fail(const struct error_text *error, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, error->size, format, args);
    va_end(args);
    return false;
}
