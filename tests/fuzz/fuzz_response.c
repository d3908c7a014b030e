/* fuzz_response.c -- heads of responses: no name and no value that a script gives ends a line early
 * or adds a header that frames the message.
 *
 * Input: one byte for the size of the buffer, one for the status; then names and values, each up to
 * a "|". */
#include "fuzz.h"

#include "net/http/request.h"
#include "net/http/response.h"

static struct slice next_part(struct fuzz_input *input) {
    struct slice part = {(const char *)input->at, 0};
    while (input->left > 0 && fuzz_byte(input) != '|')
        part.len++;
    return part;
}

/* The head as a request's, whose parser is strict: the status line becomes a request line. */
static size_t count_fields(const char *out, size_t len, const char *name) {
    const char *line_end = memchr(out, '\n', len);
    fuzz_check(line_end != NULL);
    size_t rest = len - (size_t)(line_end + 1 - out), size;
    char *head = malloc(rest + 64);
    size = (size_t)sprintf(head, "OPTIONS * HTTP/1.0\r\n");
    memcpy(head + size, line_end + 1, rest);
    struct request request;
    memset(&request, 0, sizeof request);
    int result = request_parse(&request, head, size + rest, 1 << 20);
    size_t count = 0;
    if (result > 0) /* else it has a field that requests must not have, such as two lengths */
        request_header(&request, name, &count);
    free(head);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input input = {data, size};
    size_t cap = 1 + fuzz_byte(&input) * 8, added = 0;
    int status = 100 + (int)fuzz_byte(&input) * 3;
    char *out = malloc(cap);
    struct response response;
    response_begin(&response, out, cap, status, 784111777);
    bool failed = response.error != NULL;
    while (input.left > 0 && added < 40) {
        struct slice name = next_part(&input), value = next_part(&input);
        if (response_add(&response, name, value)) {
            fuzz_check(request_is_token(name) && !failed);
            added++;
        } else {
            response_forgive(&response);
            failed = response.error != NULL;
        }
    }
    size_t len = response_end(&response, 5, status % 3 - 1), lines = 0;
    fuzz_check(len <= cap);
    for (size_t i = 0; i < len; i++) {
        fuzz_check(out[i] != '\0' && (out[i] != '\r' || out[i + 1] == '\n'));
        fuzz_check(out[i] != '\n' || (i > 0 && out[i - 1] == '\r'));
        lines += out[i] == '\n';
    }
    if (len > 0) {
        fuzz_check(memcmp(out + len - 4, "\r\n\r\n", 4) == 0 && lines >= added + 3);
        fuzz_check(lines <= added + 6);
        fuzz_check(count_fields(out, len, "Connection") <= 1);
    }
    free(out);
    return 0;
}
