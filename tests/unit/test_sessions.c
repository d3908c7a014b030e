/* test_sessions.c -- the connections of secrets, also with threads at the same time. */
#include "core/bus/sessions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include <cmocka.h>

static void test_finds_what_was_added(void **state) {
    struct sessions *sessions = sessions_new();
    struct slice secret = slice_of("0123456789abcdef"), other = slice_of("0123456789abcdeF");
    assert_int_equal(sessions_find(sessions, secret), 0);
    assert_true(sessions_add(sessions, secret, 7));
    assert_int_equal(sessions_count(sessions), 1);
    assert_int_equal(sessions_find(sessions, secret), 7);
    assert_int_equal(sessions_find(sessions, other), 0);
    assert_int_equal(sessions_find(sessions, (struct slice){secret.bytes, 15}), 0);
    assert_int_equal(sessions_find(sessions, (struct slice){NULL, 0}), 0);
    assert_true(sessions_add(sessions, other, 8));
    assert_int_equal(sessions_find(sessions, other), 8);
    assert_int_equal(sessions_find(sessions, secret), 7);
    sessions_free(sessions);
    sessions_free(NULL);
}

/* A secret has one connection, and only that one takes it away. */
static void test_a_secret_has_one_connection(void **state) {
    struct sessions *sessions = sessions_new();
    struct slice secret = slice_of("a secret with some bytes");
    assert_true(sessions_add(sessions, secret, 1));
    assert_false(sessions_add(sessions, secret, 2));
    assert_int_equal(sessions_find(sessions, secret), 1);
    sessions_remove(sessions, secret, 2);
    assert_int_equal(sessions_find(sessions, secret), 1);
    sessions_remove(sessions, secret, 1);
    assert_int_equal(sessions_find(sessions, secret), 0);
    assert_int_equal(sessions_count(sessions), 0);
    sessions_remove(sessions, secret, 1); /* it has gone */
    assert_true(sessions_add(sessions, secret, 2));
    assert_int_equal(sessions_find(sessions, secret), 2);
    sessions_free(sessions);
}

static void test_a_place_is_lent_once(void **state) {
    struct sessions *sessions = sessions_new();
    struct slice secret = slice_of("a secret with some bytes");
    assert_true(sessions_add(sessions, secret, 1));
    assert_null(sessions_lend_place(sessions, secret)); /* it does not wait */
    sessions_set_waiting(sessions, secret, 2, true);    /* another's */
    assert_null(sessions_lend_place(sessions, secret));
    sessions_set_waiting(sessions, secret, 1, true);
    struct session_place *place = sessions_lend_place(sessions, secret);
    assert_non_null(place);
    assert_null(sessions_lend_place(sessions, secret));
    session_place_return(place);
    place = sessions_lend_place(sessions, secret);
    assert_non_null(place);
    sessions_remove(sessions, secret, 1);
    session_place_return(place); /* its session has gone */
    session_place_return(NULL);
    sessions_free(sessions);
}

static void test_a_secret_gets_another_connection(void **state) {
    struct sessions *sessions = sessions_new();
    struct slice secret = slice_of("a secret with some bytes");
    conn_id other;
    assert_true(sessions_replace(sessions, secret, 1, 1000, &other));
    assert_int_equal(other, 0);
    assert_false(sessions_replace(sessions, secret, 3, 900, &other));
    assert_int_equal(sessions_find(sessions, secret), 1);
    assert_true(sessions_replace(sessions, secret, 2, 1000, &other));
    assert_int_equal(other, 1);
    assert_int_equal(sessions_count(sessions), 1);
    sessions_remove(sessions, secret, 1); /* which has it no more */
    assert_int_equal(sessions_find(sessions, secret), 2);
    sessions_remove(sessions, secret, 2);
    assert_int_equal(sessions_count(sessions), 0);
    sessions_free(sessions);
}

/* The text of the caller may change afterwards. */
static void test_the_secret_is_copied(void **state) {
    struct sessions *sessions = sessions_new();
    char text[SESSION_SECRET_MAX];
    memset(text, 'x', sizeof text);
    assert_true(sessions_add(sessions, (struct slice){text, sizeof text}, 3));
    text[sizeof text - 1] = 'y';
    assert_int_equal(sessions_find(sessions, (struct slice){text, sizeof text}), 0);
    text[sizeof text - 1] = 'x';
    assert_int_equal(sessions_find(sessions, (struct slice){text, sizeof text}), 3);
    sessions_free(sessions);
}

enum { THREADS = 4, SECRETS = 2000 };

struct user {
    struct sessions *sessions;
    unsigned number, failures;
};

static struct slice secret_of(char text[32], unsigned thread, unsigned i) {
    return (struct slice){text, (size_t)snprintf(text, 32, "secret-%u-of-thread-%u", i, thread)};
}

/* Each thread has secrets of its own, and looks for those of the next one, too. */
static void use(void *argument) {
    struct user *user = argument;
    char text[32];
    for (unsigned i = 0; i < SECRETS; i++) {
        user->failures +=
            !sessions_add(user->sessions, secret_of(text, user->number, i), user->number + 1);
        conn_id found =
            sessions_find(user->sessions, secret_of(text, (user->number + 1) % THREADS, i));
        user->failures += found != 0 && found != (user->number + 1) % THREADS + 1;
    }
    for (unsigned i = 0; i < SECRETS; i += 2)
        sessions_remove(user->sessions, secret_of(text, user->number, i), user->number + 1);
}

static void test_threads(void **state) {
    struct sessions *sessions = sessions_new();
    struct user users[THREADS];
    uv_thread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        users[i] = (struct user){sessions, i, 0};
        assert_int_equal(uv_thread_create(&threads[i], use, &users[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        uv_thread_join(&threads[i]);
        assert_int_equal(users[i].failures, 0);
    }
    assert_int_equal(sessions_count(sessions), THREADS * SECRETS / 2);
    for (unsigned i = 0; i < SECRETS; i++) {
        char text[32];
        assert_int_equal(sessions_find(sessions, secret_of(text, 2, i)), i % 2 == 0 ? 0 : 3);
    }
    sessions_free(sessions);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_what_was_added),
        cmocka_unit_test(test_a_secret_has_one_connection),
        cmocka_unit_test(test_a_secret_gets_another_connection),
        cmocka_unit_test(test_the_secret_is_copied),
        cmocka_unit_test(test_a_place_is_lent_once),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
