/* fuzz_date.c -- dates of HTTP headers: a date that is read can be written and is read again as the
 * same one. */
#include "fuzz.h"

#include "net/http/date.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *bytes = fuzz_copy(data, size);
    time_t when, again;
    if (date_parse((struct slice){bytes, size}, &when)) {
        char text[DATE_BYTES];
        date_format(when, text);
        fuzz_check(strlen(text) == DATE_BYTES - 1);
        fuzz_check(date_parse(slice_of(text), &again) && again == when);
    }
    free(bytes);
    return 0;
}
