/* fake_http.h -- a server of plain HTTP on a real loop, whose connections are fake streams.
 *
 * A test that includes this sets the handlers itself. Included by the tests of http.c. */
#ifndef TESTS_UNIT_FAKE_HTTP_H
#define TESTS_UNIT_FAKE_HTTP_H

#include "fake_stream.h"

#include "base/log/log.h"
#include "net/http/http.h"

static uv_loop_t loop;
static struct stats stats;
static struct admission admission;
static struct http_server *server;

/* Starts the server. All requests and all responses may have so many bytes. */
static void fake_http_start(const struct http_options *options, size_t bytes) {
    memset(&stats, 0, sizeof stats);
    admission_init(&admission);
    atomic_store(&admission.uploads.max, bytes);
    atomic_store(&admission.uploads.max_of_one, bytes);
    atomic_store(&admission.responses.max, bytes);
    atomic_store(&admission.responses.max_of_one, bytes);
    log_set_level(LOG_ERROR);
    assert_int_equal(uv_loop_init(&loop), 0);
    server = http_server_new(&loop, NULL, &stats, options);
}

/* A teardown function: nothing is left. */
static int fake_http_finish(void **state) {
    (void)state;
    assert_int_equal(http_server_count(server), 0);
    http_server_close(server);
    uv_run(&loop, UV_RUN_DEFAULT);
    http_server_free(server);
    assert_int_equal(limit_taken(&admission.connections), 0);
    assert_int_equal(limit_taken(&admission.refusals), 0);
    assert_int_equal(admission.uploads.taken, 0);
    assert_int_equal(admission.responses.taken, 0);
    admission_close(&admission);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

static struct stream *accept_one(void) {
    fake_adopted = NULL;
    http_accept(server, 7, "192.0.2.1");
    assert_non_null(fake_adopted);
    assert_int_equal(fake_adopted->fd, 7);
    return fake_adopted;
}

static void give(struct stream *stream, const char *text) {
    fake_stream_gives(stream, text, strlen(text));
}

#endif
