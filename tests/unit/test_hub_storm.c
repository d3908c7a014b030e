/* test_hub_storm.c -- many clients that come, speak, stall and go at random, under hooks that
 * sleep, send and close at random. The fakes watch the hooks' order; here the messages are counted:
 * in, none is lost or out of order until the server closes; out, each client gets whole frames, in
 * order, and nothing behind its Close frame. */
#include "fake_hub.h"

static uint32_t random_state = 1;

static uint32_t random_below(uint32_t limit) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % limit;
}

static bool one_in(uint32_t n) {
    return random_below(n) == 0;
}

struct model {
    unsigned said, heard;  /* messages of the client: sent to the open connection; handled */
    unsigned queued;       /* messages to the client */
    bool client_was_first; /* it closed, or its socket went, before the server closed */
};

static struct model *model_of(struct fake_client *client) {
    return client->model;
}

enum { PLACES = 30 };

/* Those that are admitted, and perhaps some that were. */
static struct fake_client *present[PLACES];

/* One with a socket, or NULL. */
static struct fake_client *pick(void) {
    struct fake_client *client = present[random_below(PLACES)];
    return client != NULL && client->conn != NULL && client->conn->peer != NULL ? client : NULL;
}

static void send_something(struct fake_client *client) {
    struct model *model = model_of(client);
    char text[300];
    memset(text, '.', sizeof text);
    snprintf(text, sizeof text, "%u ", model->queued);
    size_t len = 12 + random_below(one_in(10) ? 280 : 60);
    enum send_result result;
    if (one_in(2)) {
        result = hub_send(client->fake->hub, client->conn, OPCODE_TEXT, text, len);
    } else {
        struct message *message = message_new(OPCODE_TEXT, text, len);
        result = hub_send_deliver(client->fake->hub, client->conn, message);
        message_unref(message);
    }
    if (result == SEND_OK)
        model->queued++;
}

static void during(struct fake_client *client, enum fake_hook hook, const char *bytes, size_t len) {
    struct fake *f = client->fake;
    struct model *model = model_of(client);
    if (hook == FAKE_MESSAGE) {
        assert_int_equal(len, sizeof model->heard);
        assert_memory_equal(bytes, &model->heard, len);
        model->heard++;
    }
    if (hook == FAKE_CLOSE && model->client_was_first)
        assert_int_equal(model->heard, model->said);
    if (one_in(3))
        send_something(client);
    if (one_in(30))
        hub_close(f->hub, client->id, 4000, "enough", 6);
    struct fake_client *other = pick();
    if (other != NULL && one_in(10))
        send_something(other);
    if (other != NULL && one_in(200))
        hub_close(f->hub, other->id, 4001, NULL, 0);
}

static void say(struct fake_client *client) {
    struct model *model = model_of(client);
    unsigned number = model->said;
    if (client->conn->state == CONN_OPEN)
        model->said++;
    hub_alive(client->fake->hub, client->conn);
    hub_received(client->fake->hub, client->conn, (const char *)&number, sizeof number, true);
}

static void leave(struct fake_client *client) {
    struct fake *f = client->fake;
    struct model *model = model_of(client);
    if (client->conn->state == CONN_OPEN)
        model->client_was_first = true;
    switch (random_below(3)) {
    case 0:
        fake_gone(client);
        break;
    case 1:
        hub_peer_closed(f->hub, client->conn, 1000, "bye", 3);
        break;
    case 2:
        model->client_was_first = false;
        hub_fail(f->hub, client->conn, CLOSE_PROTOCOL, "nonsense");
        break;
    }
}

static void come(struct fake *f) {
    struct fake_client *client = fake_admit(f);
    if (client == NULL)
        return;
    client->model = mem_zalloc(sizeof(struct model));
    uint32_t place = 0;
    while (present[place] != NULL && !present[place]->forgotten)
        place++;
    present[place] = client;
    client->room = one_in(3) ? random_below(3000) : SIZE_MAX;
    if (!one_in(10))
        hub_assign(f->hub, client->conn, one_in(2));
    if (client->conn->endpoint == NULL || one_in(10))
        fake_gone(client);
    else
        hub_open(f->hub, client->conn, client);
}

static void step(struct fake *f) {
    f->sleeps = one_in(3) ? random_below(FAKE_ALL + 1) : 0;
    struct fake_client *client = pick();
    uint32_t what = random_below(100);
    if (what < 6)
        come(f);
    else if (what < 10)
        fake_pass(f, random_below(100));
    else if (what < 25)
        hub_turn_end(f->hub);
    else if (what < 45)
        for (uint32_t i = 0; i < PLACES; i++) {
            if (present[i] != NULL && present[i]->sleeping && one_in(4))
                fake_wake(present[i]);
        }
    if (client == NULL)
        return;
    if (what < 70) {
        for (uint32_t i = random_below(8); i > 0 && !client->paused; i--)
            say(client);
    } else if (what < 80) {
        send_something(client);
    } else if (what < 87) {
        fake_takes(client, random_below(1000));
    } else if (what < 92) {
        hub_answer_ping(f->hub, client->conn, "p", 1);
        hub_pong(f->hub, client->conn, "1", 1);
    } else if (what < 93 || client->ended || client->killed) {
        leave(client);
    }
}

/* What one client got: numbered messages among other frames, Close last. */
static void check_frames(struct fake_client *client) {
    unsigned next = 0;
    bool closed = false;
    char text[400];
    while (client->seen < client->len) {
        size_t n =
            fake_frame(client->bytes + client->seen, client->len - client->seen, text, sizeof text);
        if (n == 0)
            return; /* its end was never taken */
        assert_false(closed);
        unsigned number;
        if (sscanf(text, "text(%u", &number) == 1)
            assert_int_equal(number, next++);
        closed = strncmp(text, "close", 5) == 0;
        client->seen += n;
    }
    assert_true(next <= model_of(client)->queued);
    assert_false(client->ended && !closed);
}

static void storm(uint32_t seed, enum slow_client slow) {
    random_state = seed;
    memset(present, 0, sizeof present);
    struct endpoint endpoint = fake_endpoint();
    endpoint.ping_ms = 50;
    endpoint.pong_ms = 400;
    endpoint.slow_client = slow;
    struct fake *f = fake_new(&endpoint);
    endpoint.has_ping = endpoint.has_timeout = false;
    hub_add_endpoint(f->hub, &endpoint);
    f->limit.max = PLACES;
    f->silent = true;
    f->during = during;
    for (int i = 0; i < 40000; i++)
        step(f);
    f->sleeps = 0;
    for (uint32_t i = 0; i < f->count; i++)
        if (f->clients[i]->sleeping)
            fake_wake(f->clients[i]);
    fake_turn(f);
    uint64_t heard = 0, frames = 0;
    for (uint32_t i = 0; i < f->count; i++) {
        struct fake_client *client = f->clients[i];
        check_frames(client);
        heard += model_of(client)->heard;
        frames += client->len;
    }
    assert_true(f->count > 500 && heard > 5000 && frames > 100000); /* it was a storm */
    f->during = NULL;
    for (uint32_t i = 0; i < f->count; i++)
        mem_free(f->clients[i]->model);
    fake_free(f);
}

static void test_storm(void **state) {
    for (uint32_t seed = 1; seed <= 5; seed++)
        storm(seed, SLOW_CLIENT_CLOSE);
}

static void test_storm_that_drops(void **state) {
    for (uint32_t seed = 6; seed <= 10; seed++)
        storm(seed, SLOW_CLIENT_DROP);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_storm),
        cmocka_unit_test(test_storm_that_drops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
