/* fuzz_request.c -- the head of a request, and what the server reads in its headers: a handshake,
 * lists, conditions, ranges.
 *
 * Input: two bytes decide the pieces in which the head arrives, one the limit of its length. The
 * rest is the head. The result must not depend on the pieces. */
#include "fuzz.h"

#include "net/http/handshake.h"
#include "net/http/preconditions.h"
#include "net/http/request.h"

static void check_slices(const struct request *r, const char *bytes, int len) {
    size_t n = (size_t)len;
    fuzz_check(r->head.len <= n && fuzz_is_within(r->head, bytes, n));
    fuzz_check(fuzz_is_within(r->method, bytes, n) && request_is_token(r->method));
    fuzz_check(r->method.len <= REQUEST_MAX_METHOD);
    fuzz_check(fuzz_is_within(r->target, bytes, n) && fuzz_is_within(r->host, bytes, n));
    fuzz_check(fuzz_is_within(r->query, bytes, n));
    fuzz_check(r->path.len > 0 && (r->path.bytes[0] == '/' || slice_is(r->path, "*")));
    fuzz_check(r->minor == 0 || r->minor == 1);
    fuzz_check(r->content_length >= -1 && !(r->chunked && r->content_length >= 0));
    fuzz_check(r->field_count <= REQUEST_MAX_HEADERS);
    for (size_t i = 0; i < r->field_count; i++) {
        struct slice value = r->fields[i].value;
        fuzz_check(fuzz_is_within(r->fields[i].name, bytes, n));
        fuzz_check(request_is_token(r->fields[i].name));
        fuzz_check(fuzz_is_within(value, bytes, n));
        for (size_t j = 0; j < value.len; j++)
            fuzz_check(value.bytes[j] != '\r' && value.bytes[j] != '\n' && value.bytes[j] != '\0');
    }
}

static void check_equal(const struct request *a, const struct request *b) {
    fuzz_check(fuzz_same(a->method, b->method) && fuzz_same(a->target, b->target));
    fuzz_check(fuzz_same(a->path, b->path) && fuzz_same(a->query, b->query));
    fuzz_check(fuzz_same(a->host, b->host) && a->minor == b->minor);
    fuzz_check(a->content_length == b->content_length && a->chunked == b->chunked);
    fuzz_check(a->expect_continue == b->expect_continue && a->field_count == b->field_count);
    for (size_t i = 0; i < a->field_count; i++)
        fuzz_check(fuzz_same(a->fields[i].name, b->fields[i].name) &&
                   fuzz_same(a->fields[i].value, b->fields[i].value));
}

static void check_handshake(const struct request *r, const char *bytes, size_t len) {
    handshake_wanted(r);
    struct handshake handshake;
    int status = handshake_check(r, &handshake);
    fuzz_check(status == handshake.status);
    fuzz_check(status == 0 || status == 400 || status == 405 || status == 426);
    fuzz_check(handshake.text != NULL && handshake.headers != NULL);
    if (status != 0)
        return;
    fuzz_check(handshake_wanted(r) && slice_is(r->method, "GET") && r->minor == 1);
    fuzz_check(handshake.key.len == HANDSHAKE_KEY_BYTES &&
               fuzz_is_within(handshake.key, bytes, len));
    char accept[HANDSHAKE_ACCEPT_BYTES];
    fuzz_check(handshake_accept(handshake.key, accept));
    fuzz_check(strlen(accept) == HANDSHAKE_ACCEPT_BYTES - 1);
}

static void check_lists(const struct request *r) {
    for (size_t i = 0; i < r->field_count; i++) {
        struct slice list = r->fields[i].value, item;
        size_t count = 0;
        while (request_list_next(&list, &item)) {
            fuzz_check(item.len > 0 && ++count <= r->fields[i].value.len);
            fuzz_check(memchr(item.bytes, ',', item.len) == NULL);
        }
        fuzz_check(request_decimal(r->fields[i].value) >= -1);
    }
}

static void check_conditions(const struct request *r) {
    static const char etag[] = "\"5f-1\"";
    enum { MODIFIED = 784111777 };
    preconditions_fail(r, etag, MODIFIED);
    preconditions_not_modified(r, etag, MODIFIED);
    static const int64_t sizes[] = {0, 1, 10, INT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t offset = -1, length = -1;
        if (preconditions_range(r, etag, MODIFIED, sizes[i], &offset, &length) == RANGE_PART)
            fuzz_check(offset >= 0 && length > 0 && offset <= sizes[i] - length);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input input = {data, size};
    struct fuzz_pieces pieces = fuzz_pieces_of(&input);
    size_t max = 16 + fuzz_byte(&input) * 8, len = input.left;

    struct request whole;
    memset(&whole, 0, sizeof whole);
    char *bytes = fuzz_copy(input.at, len);
    int result = request_parse(&whole, bytes, len, max);
    fuzz_check(result <= (int)len && result <= (int)max && result > -600);
    if (result > 0) {
        check_slices(&whole, bytes, result);
        check_handshake(&whole, bytes, (size_t)result);
        check_lists(&whole);
        check_conditions(&whole);
    } else if (result < 0) {
        fuzz_check(result <= -400 && whole.error != NULL && whole.error[0] != '\0');
    }

    struct request parts;
    memset(&parts, 0, sizeof parts);
    int again = 0;
    char *piece = NULL;
    for (size_t at = 0; at < len && again == 0;) {
        at += fuzz_next_piece(&pieces, len - at);
        free(piece); /* the buffer moves */
        piece = fuzz_copy(input.at, at);
        again = request_parse(&parts, piece, at, max);
    }
    fuzz_check(result == again);
    if (result > 0)
        check_equal(&whole, &parts);
    else if (result < 0)
        fuzz_check(strcmp(whole.error, parts.error) == 0);
    free(piece);
    free(bytes);
    return 0;
}
