/* test_handshake_server.c -- handshakes from the first byte to the open connection, and every
 * refusal. With fake streams and fake hooks, on a loop that does not run. */
#include "fake_hub.h"
#include "fake_stream.h"

#include "net/ws/handshake_server.h"

#include "core/bus/bus.h"

static struct fake *f;
static struct http_server *http;
static struct handshake_server *handshakes;
static uv_loop_t loop;

/* The answer of the scripts to a handshake, and the request that they got. */
static struct handshake_answer answer;
static int asked;
static char asked_head[512], asked_remote[64];
static conn_id asked_id;

static void on_handshake(void *user, struct conn *conn, const struct http_request *request,
                         struct handshake_answer *out) {
    asked++;
    asked_id = hub_id_of(conn);
    snprintf(asked_head, sizeof asked_head, "%.*s", (int)request->head_len, request->head);
    snprintf(asked_remote, sizeof asked_remote, "%s", request->remote_address);
    assert_null(request->body);
    assert_non_null(hub_find(f->hub, hub_id_of(conn))); /* the hub has admitted it already */
    *out = answer;
}

static void on_forgotten(void *user, struct conn *conn) {
    for (uint32_t i = 0; i < f->count; i++)
        if (f->clients[i]->id == hub_id_of(conn))
            fake_events.forgotten(user, conn); /* scripts never see a refused connection */
}

static struct hub_events events;
static struct admission *admission;
static struct handoffs *handoffs;

static int start(void **state) {
    f = fake_new(NULL);
    events = fake_events;
    events.handshake = on_handshake;
    events.forgotten = on_forgotten;
    hub_set_events(f->hub, &events, f);
    assert_int_equal(uv_loop_init(&loop), 0);
    admission = mem_alloc(sizeof *admission);
    admission_init(admission);
    atomic_store(&admission->connections.max, 100);
    atomic_store(&admission->per_address, 2);
    f->hub->options.limit = &admission->connections;
    handoffs = handoffs_new();
    const struct http_options options = {.max_head_bytes = 4000,
                                         .max_body_bytes = 1000,
                                         .request_ms = 60000,
                                         .send_ms = 60000,
                                         .half_closed_ms = 60000,
                                         .admission = admission,
                                         .handoffs = handoffs,
                                         .worker = 3};
    http = http_server_new(&loop, NULL, &f->hub->stats, &options);
    handshakes = handshake_server_new(http, f->hub, options.half_closed_ms);
    answer = (struct handshake_answer){.status = 101};
    asked = 0;
    return 0;
}

static int finish(void **state) {
    assert_int_equal(http_server_count(http), 0);
    fake_free(f);
    http_server_close(http);
    uv_run(&loop, UV_RUN_DEFAULT);
    http_server_free(http);
    handshake_server_free(handshakes);
    handoffs_free(handoffs);
    assert_int_equal(limit_taken(&admission->connections), 0);
    assert_int_equal(limit_taken(&admission->refusals), 0);
    admission_close(admission);
    mem_free(admission);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

static void turn(void) {
    for (int i = 0; i == 0 || handshake_server_has_pending(handshakes) || hub_has_pending(f->hub);
         i++) {
        assert_in_range(i, 0, 100);
        handshake_server_turn(handshakes);
        hub_turn_end(f->hub);
    }
}

static const char handshake[] =
    "GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

static struct stream *send_bytes(const char *remote, const char *bytes, size_t len) {
    http_accept(http, 7, remote);
    struct stream *stream = fake_adopted;
    /* the hub's fakes must know a client before its hooks are called */
    struct fake_client *client = mem_zalloc(sizeof *client);
    *client = (struct fake_client){.fake = f, .name = (char)('a' + f->count), .room = SIZE_MAX};
    f->clients[f->count++] = client;
    asked_id = 0;
    fake_stream_gives(stream, bytes, len);
    client->id = asked_id;
    client->conn = hub_find(f->hub, asked_id);
    if (client->conn == NULL) {
        f->count--;
        mem_free(client);
    }
    return stream;
}

static struct stream *send_handshake(const char *remote) {
    return send_bytes(remote, handshake, sizeof handshake - 1);
}

/* Closes an accepted client's stream. */
static void leave(struct stream *stream, uint32_t client) {
    fake_stream_closes(stream);
    f->clients[client]->conn = NULL;
    turn();
}

static void check_refused(struct stream *stream, int status, const char *piece) {
    char want[32];
    snprintf(want, sizeof want, "HTTP/1.1 %d ", status);
    assert_non_null(stream->bytes);
    assert_memory_equal(stream->bytes, want, strlen(want));
    if (strstr(stream->bytes, piece) == NULL)
        fail_msg("no \"%s\" in: %s", piece, stream->bytes);
    assert_true(strlen(strstr(stream->bytes, "\r\n\r\n")) > 5); /* the response has a body */
    assert_true(stream->shut);
    fake_stream_closes(stream);
}

/* ---- accepted ---- */

static void test_accepted(void **state) {
    struct stream *stream = send_handshake("192.0.2.1");
    assert_int_equal(asked, 1);
    assert_string_equal(asked_head, handshake);
    assert_string_equal(asked_remote, "192.0.2.1");
    assert_string_equal(stream->bytes,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\n"
                        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    assert_int_equal(http_server_count(http), 0);
    assert_int_equal(hub_endpoint(f->hub, 0)->limit->taken, 1);
    turn();
    fake_stream_gives(stream, "\x81\x82\0\0\0\0hi", 8);
    fake_expect(f, "a.open a.message(hi)");
    leave(stream, 0);
    fake_expect(f, "a.close(1006) a.forgotten");
    assert_int_equal(stats_read(&f->hub->stats.connections_refused), 0);
}

static void test_subprotocol(void **state) {
    answer.subprotocol = "chat.v2";
    struct stream *stream = send_handshake("192.0.2.1");
    assert_non_null(strstr(stream->bytes, "\r\nSec-WebSocket-Protocol: chat.v2\r\n"));
    turn();
    leave(stream, 0);
}

static void test_frames_behind_the_handshake(void **state) {
    char bytes[sizeof handshake + 20];
    memcpy(bytes, handshake, sizeof handshake - 1);
    memcpy(bytes + sizeof handshake - 1, "\x81\x82\0\0\0\0hi\x81", 9);
    struct stream *stream = send_bytes("192.0.2.1", bytes, sizeof handshake - 1 + 9);
    turn();
    fake_stream_gives(stream, "\x81\0\0\0\0x", 6);
    fake_expect(f, "a.open a.message(hi) a.message(x)");
    leave(stream, 0);
}

/* A new socket that does not take the whole response is broken. */
static void test_an_answer_that_is_not_taken(void **state) {
    http_accept(http, 7, "192.0.2.1");
    struct stream *stream = fake_adopted;
    stream->room = 10;
    fake_stream_gives(stream, handshake, sizeof handshake - 1);
    assert_true(stream->killed);
    assert_int_equal(hub_admitted(f->hub), 0);
    assert_int_equal(hub_endpoint(f->hub, 0)->limit->taken, 0);
    fake_stream_closes(stream);
}

/* ---- refused ---- */

static void test_malformed(void **state) {
    static const char no_key[] = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                                 "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n";
    check_refused(send_bytes("192.0.2.1", no_key, sizeof no_key - 1), 400, "Sec-WebSocket-Key");
    static const char old[] = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\nSec-WebSocket-Version: 8\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    check_refused(send_bytes("192.0.2.1", old, sizeof old - 1), 426,
                  "\r\nSec-WebSocket-Version: 13\r\n");
    assert_int_equal(asked, 0); /* the scripts are not called */
    assert_int_equal(stats_read(&f->hub->stats.connections_refused), 2);
    assert_int_equal(hub_admitted(f->hub), 0);
}

static void test_refused_by_the_scripts(void **state) {
    answer = (struct handshake_answer){.status = 401,
                                       .headers = "WWW-Authenticate: Bearer\r\n",
                                       .body = "who are you?",
                                       .body_len = 12};
    struct stream *stream = send_handshake("192.0.2.1");
    assert_non_null(strstr(stream->bytes, "\r\nWWW-Authenticate: Bearer\r\n"));
    check_refused(stream, 401, "\r\n\r\nwho are you?");
    assert_int_equal(stats_read(&f->hub->stats.connections_refused), 1);
    assert_int_equal(hub_admitted(f->hub), 0); /* it counts no more */
}

static void answers_nothing(void *user, struct conn *conn, const struct http_request *request,
                            struct handshake_answer *out) {
}

/* A handshake whose scripts fail never becomes a connection. */
static void test_no_answer(void **state) {
    events.handshake = answers_nothing;
    check_refused(send_handshake("192.0.2.1"), 500,
                  "{\"error\":\"The server could not decide.\",\"status\":500}");
    assert_int_equal(hub_admitted(f->hub), 0);
    assert_int_equal(stats_read(&f->hub->stats.connections_refused), 1);
}

/* A page in a browser sees no status: the handshake is accepted, and the connection closed at once.
 * No hook is called; the connection counts until its socket is closed. */
static void test_refused_by_a_close(void **state) {
    answer = (struct handshake_answer){
        .status = 4401, .subprotocol = "chat.v1", .body = "who are you?", .body_len = 12};
    atomic_store(&admission->connections.max, 1);
    struct stream *stream = send_handshake("192.0.2.1");
    turn();
    assert_memory_equal(stream->bytes, "HTTP/1.1 101 ", 13);
    assert_non_null(strstr(stream->bytes, "\r\nSec-WebSocket-Protocol: chat.v1\r\n"));
    static const unsigned char close_frame[] = "\x88\x0e\x11\x31who are you?";
    const char *end = strstr(stream->bytes, "\r\n\r\n");
    assert_int_equal(stream->len - (size_t)(end + 4 - stream->bytes), 16);
    assert_memory_equal(end + 4, close_frame, 16);
    assert_int_equal(stats_read(&f->hub->stats.connections_refused), 1);
    assert_int_equal(stats_read(&f->hub->stats.connections), 0);
    assert_int_equal(stats_read(&f->hub->stats.connections_opened), 0);
    assert_int_equal(hub_endpoint(f->hub, 0)->limit->taken, 0);
    assert_int_equal(hub_admitted(f->hub), 1);
    check_refused(send_handshake("192.0.2.1"), 503, "The server is full.");
    fake_stream_gives(stream, "\x81\x82\0\0\0\0hi\x89\x80\0\0\0\0", 14); /* ignored */
    assert_false(stream->shut);
    fake_stream_gives(stream, "\x88\x82\0\0\0\0\x11\x31", 8);
    turn();
    assert_true(stream->shut);
    assert_int_equal(stream->len - (size_t)(end + 4 - stream->bytes), 16);
    leave(stream, 0);
    fake_expect(f, "a.forgotten");
    assert_int_equal(hub_admitted(f->hub), 0);
    assert_int_equal(ip_counts_get(admission->ip_counts, "192.0.2.1"), 0);
    assert_int_equal(stats_read(&f->hub->stats.connections_closed), 0);
    assert_int_equal(stats_read(&f->hub->stats.messages_received), 0);
}

/* A client that closes at once, or that neither answers nor closes. */
static void test_refused_by_a_close_without_an_answer(void **state) {
    answer = (struct handshake_answer){.status = 4000};
    struct stream *stream = send_handshake("192.0.2.1");
    leave(stream, 0); /* before the end of the turn */
    fake_expect(f, "a.forgotten");
    stream = send_handshake("192.0.2.1");
    turn();
    fake_pass(f, 10000);
    assert_true(stream->killed);
    leave(stream, 1);
    fake_expect(f, "b.forgotten");
    assert_int_equal(stats_read(&f->hub->stats.connections), 0);
}

static void test_full(void **state) {
    atomic_store(&admission->connections.max, 1);
    struct stream *first = send_handshake("192.0.2.1");
    struct stream *second = send_handshake("192.0.2.2");
    assert_non_null(strstr(second->bytes, "\r\nRetry-After: "));
    check_refused(second, 503, "The server is full.");
    assert_int_equal(asked, 1);
    leave(first, 0);
    struct stream *third = send_handshake("192.0.2.2"); /* the limit has room again */
    assert_memory_equal(third->bytes, "HTTP/1.1 101 ", 13);
    leave(third, 1);
}

static void test_many_of_one_address(void **state) {
    struct stream *one = send_handshake("192.0.2.1"), *two = send_handshake("192.0.2.1"),
                  *three = send_handshake("192.0.2.1");
    assert_non_null(strstr(three->bytes, "\r\nRetry-After: "));
    check_refused(three, 429, "address");
    struct stream *other = send_handshake("192.0.2.2");
    assert_memory_equal(other->bytes, "HTTP/1.1 101 ", 13);
    leave(one, 0);
    struct stream *again = send_handshake("192.0.2.1");
    assert_memory_equal(again->bytes, "HTTP/1.1 101 ", 13);
    leave(two, 1);
    leave(other, 2);
    leave(again, 3);
    struct stream *sockets[5]; /* clients of a Unix socket have no address of their own */
    for (int i = 0; i < 5; i++) {
        sockets[i] = send_handshake("unix");
        assert_memory_equal(sockets[i]->bytes, "HTTP/1.1 101 ", 13);
    }
    for (uint32_t i = 0; i < 5; i++)
        leave(sockets[i], 4 + i);
}

static void test_drain(void **state) {
    struct stream *before = send_handshake("192.0.2.1");
    handshake_server_drain(handshakes);
    check_refused(send_handshake("192.0.2.2"), 503, "shutting down");
    assert_false(before->killed); /* the hub closes it, with a Close frame */
    leave(before, 0);
}

/* ---- sessions ---- */

/* Sends a handshake with this query. True: the worker passes it. */
static bool is_passed(const char *query) {
    char bytes[1000];
    int len = snprintf(bytes, sizeof bytes, "GET /chat?%s %s", query, strchr(handshake, 'H'));
    struct stream *stream = send_bytes("192.0.2.1", bytes, (size_t)len);
    bool released = stream->released;
    if (released) {
        fake_stream_free(stream);
    } else {
        assert_memory_equal(stream->bytes, "HTTP/1.1 101 ", 13);
        leave(stream, f->count - 1);
    }
    assert_int_equal(http_server_count(http), 0);
    return released;
}

/* The worker with the number 3 passes only what is another one's. */
static void test_a_session_of_another_worker(void **state) {
    static const char elsewhere[] = "0123456789abcdef", here[] = "fedcba9876543210";
    struct bus *bus = bus_new();
    uv_async_t wake;
    bus_set_workers(bus, 4);
    f->hub->options.bus = bus;
    uv_async_init(&loop, &wake, NULL);
    handoffs_open(handoffs, 2, &wake);
    atomic_store(&admission->per_address, 3); /* those on the way count */
    assert_false(is_passed("session=0123456789abcdef"));
    sessions_add(bus_sessions(bus), slice_of(elsewhere), conn_id_of(2, 1 << 24));
    sessions_add(bus_sessions(bus), slice_of(here), conn_id_of(3, 1 << 24));
    assert_int_equal(asked, 1);
    assert_true(is_passed("session=0123456789abcdef"));
    assert_true(is_passed("a=1&session=0123456789%61bcdef&received=5"));
    assert_int_equal(asked, 1); /* no script has seen them */
    assert_int_equal(hub_admitted(f->hub), 0);
    assert_int_equal(stats_read(&f->hub->stats.sessions_passed), 2);
    assert_false(is_passed("session=fedcba9876543210"));
    assert_false(is_passed("session=0123456789abcdeF"));
    assert_false(is_passed("session=0123456789abcdef0"));
    assert_false(is_passed("session=0123456789abcdef&session="));
    assert_false(is_passed("sessions=0123456789abcdef"));
    assert_false(is_passed("session"));
    assert_int_equal(asked, 7);
    int closed = fake_sockets_closed;
    struct http_server *other = http_server_new(
        &loop, NULL, &f->hub->stats,
        &(struct http_options){.admission = admission, .handoffs = handoffs, .worker = 2});
    http_server_close(other);
    assert_int_equal(fake_sockets_closed, closed + 2); /* that worker has ended meanwhile */
    uv_close((uv_handle_t *)&wake, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    http_server_free(other);
    f->hub->options.bus = NULL;
    bus_free(bus);
}

static const char secret[] = "0123456789abcdef";
static conn_id known; /* the connection that had the secret when bytes were written first */

static void note_known(void) {
    known = sessions_find(f->hub->sessions, slice_of(secret));
    fake_on_write = NULL;
}

/* Its client may open the next socket as soon as it has the 101, at another worker. */
static void test_a_session_is_known_before_the_answer(void **state) {
    f->hub->endpoints[0]->resume_ms = 60000;
    answer.session = slice_of(secret);
    known = 0;
    fake_on_write = note_known;
    struct stream *stream = send_handshake("192.0.2.1");
    assert_memory_equal(stream->bytes, "HTTP/1.1 101 ", 13);
    assert_int_not_equal(known, 0);
    assert_int_equal(known, asked_id);
    leave(stream, 0);
    fake_pass(f, 60000);
    turn();
    assert_int_equal(sessions_find(f->hub->sessions, slice_of(secret)), 0);
    /* and no more, where the answer is not taken */
    fake_on_write = note_known;
    http_accept(http, 7, "192.0.2.1");
    stream = fake_adopted;
    stream->room = 0;
    fake_stream_gives(stream, handshake, sizeof handshake - 1);
    assert_int_equal(known, asked_id);
    assert_int_equal(sessions_find(f->hub->sessions, slice_of(secret)), 0);
    assert_int_equal(stats_read(&f->hub->stats.sessions_begun), 1);
    fake_stream_closes(stream);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, finish)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_accepted),
        TEST(test_subprotocol),
        TEST(test_frames_behind_the_handshake),
        TEST(test_an_answer_that_is_not_taken),
        TEST(test_malformed),
        TEST(test_refused_by_the_scripts),
        TEST(test_no_answer),
        TEST(test_refused_by_a_close),
        TEST(test_refused_by_a_close_without_an_answer),
        TEST(test_full),
        TEST(test_many_of_one_address),
        TEST(test_drain),
        TEST(test_a_session_of_another_worker),
        TEST(test_a_session_is_known_before_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
