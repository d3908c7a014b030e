/* test_http_dispatch.c -- plain requests to a fake handler, and its responses by their numbers.
 * With fake streams, on a loop that does not run. */
#include "fake_stream.h"

#include "base/log/log.h"
#include "net/http/http_dispatch.h"

#include <stdio.h>

static uv_loop_t loop;
static struct stats stats;
static struct http_server *server;
static struct http_dispatch *requests;
static struct http_responder responder;

/* The last request of the handler. */
static char asked[512], asked_body[64], asked_remote[64];
static bool asked_securely;
static uint64_t number;

static void on_request(void *user, uint64_t request_number, const struct http_request *request) {
    assert_ptr_equal(user, &number);
    number = request_number;
    snprintf(asked, sizeof asked, "%.*s", (int)request->head_len, request->head);
    if (request->body == NULL)
        strcpy(asked_body, "none");
    else
        snprintf(asked_body, sizeof asked_body, "%.*s", (int)request->body_len, request->body);
    snprintf(asked_remote, sizeof asked_remote, "%s", request->remote_address);
    asked_securely = request->secure;
}

static int start(void **state) {
    assert_int_equal(uv_loop_init(&loop), 0);
    memset(&stats, 0, sizeof stats);
    const struct http_options options = {.max_head_bytes = 4000,
                                         .max_body_bytes = 1000,
                                         .request_ms = 60000,
                                         .send_ms = 60000,
                                         .half_closed_ms = 60000};
    server = http_server_new(&loop, NULL, &stats, &options);
    requests = http_dispatch_new(server, &stats, (struct http_handler){on_request, &number});
    responder = http_dispatch_responder(requests);
    log_set_level(LOG_ERROR + 1); /* folders that cannot be opened are logged */
    return 0;
}

static int finish(void **state) {
    assert_int_equal(http_server_count(server), 0);
    http_server_close(server);
    uv_run(&loop, UV_RUN_DEFAULT);
    http_server_free(server);
    http_dispatch_free(requests);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

static struct stream *send_request(const char *request) {
    http_accept(server, 7, "192.0.2.1");
    fake_stream_gives(fake_adopted, request, strlen(request));
    return fake_adopted;
}

static const char page[] = "GET /page HTTP/1.1\r\nHost: x\r\n\r\n";

static void test_an_answer(void **state) {
    struct stream *stream = send_request(page);
    assert_string_equal(asked, page);
    assert_string_equal(asked_remote, "192.0.2.1");
    assert_false(asked_securely);
    assert_int_equal(stats_read(&stats.http_requests), 1);
    assert_int_equal(stream->len, 0);
    responder.respond(responder.user, number + 1, 200, NULL, "not its", 7, NULL);
    assert_int_equal(stream->len, 0); /* another number */
    responder.respond(responder.user, number, 200, "X-A: b\r\n", "page", 4, NULL);
    assert_non_null(strstr(stream->bytes, "\r\nX-A: b\r\n"));
    assert_non_null(strstr(stream->bytes, "\r\n\r\npage"));
    fake_stream_closes(stream);
    responder.respond(responder.user, number, 200, NULL, "gone", 4, NULL);
    responder.respond_file(responder.user, number, "/tmp", "/x");
}

static void test_a_failure(void **state) {
    struct stream *stream = send_request(page);
    responder.respond_failure(responder.user, number, 503, "It \"ends\".");
    assert_non_null(strstr(stream->bytes, "HTTP/1.1 503 "));
    assert_non_null(strstr(stream->bytes, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(
        strstr(stream->bytes, "\r\n\r\n{\"error\":\"It \\\"ends\\\".\",\"status\":503}"));
    fake_stream_closes(stream);
    responder.respond_failure(responder.user, number, 503, "gone");
}

static void test_a_body(void **state) {
    struct stream *stream =
        send_request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
    assert_string_equal(asked_body, "hi");
    responder.respond(responder.user, number, 204, NULL, NULL, 0, NULL);
    fake_stream_closes(stream);
    stream = send_request(page);
    assert_string_equal(asked_body, "none");
    responder.respond(responder.user, number, 204, NULL, NULL, 0, NULL);
    fake_stream_closes(stream);
}

static void test_files(void **state) {
    static const struct {
        const char *root, *path;
        int status;
    } cases[] = {{"tests/unit", "/test_http_dispatch.c", 200},
                 {"tests/unit", "/test_http_dispatch.c", 200},
                 {"tests", "/unit/no_such_file", 404},
                 {"tests/no_such_folder", "/x", 404},
                 {"tests/no_such_folder", "/x", 404}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stream *stream = send_request(page);
        responder.respond_file(responder.user, number, cases[i].root, cases[i].path);
        char want[32];
        snprintf(want, sizeof want, "HTTP/1.1 %d ", cases[i].status);
        assert_memory_equal(stream->bytes, want, strlen(want));
        if (cases[i].status == 200)
            assert_non_null(strstr(stream->bytes, "\r\n\r\n/* test_http_dispatch.c -- "));
        fake_stream_closes(stream);
    }
}

/* A handshake is no plain request. */
static void test_a_handshake(void **state) {
    asked[0] = '\0';
    struct stream *stream = send_request("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n");
    assert_string_equal(asked, "");
    assert_memory_equal(stream->bytes, "HTTP/1.1 404 ", 13);
    assert_int_equal(stats_read(&stats.http_requests), 0);
    fake_stream_closes(stream);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, finish)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_an_answer), TEST(test_a_failure),   TEST(test_a_body),
        TEST(test_files),     TEST(test_a_handshake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
