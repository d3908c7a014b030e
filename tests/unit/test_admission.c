/* test_admission.c -- limits on sockets and on bytes, of the process and of one address: exact to
 * the last unit, and given back. */
#include "net/socket/admission.h"

#include <uv.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct admission admission;

static int start(void **state) {
    admission_init(&admission);
    return 0;
}

static int finish(void **state) {
    assert_int_equal(limit_taken(&admission.connections), 0);
    assert_int_equal(limit_taken(&admission.refusals), 0);
    assert_int_equal(ip_counts_get(admission.ip_counts, "192.0.2.1"), 0);
    admission_close(&admission);
    return 0;
}

static void test_places(void **state) {
    struct permit permits[5];
    atomic_store(&admission.connections.max, 2);
    assert_int_equal(admission_take(&admission, "192.0.2.1", &permits[0]), ADMISSION_GRANTED);
    assert_int_equal(admission_take(&admission, "unix", &permits[1]), ADMISSION_GRANTED);
    assert_int_equal(admission_take(&admission, "192.0.2.1", &permits[2]), ADMISSION_SERVER_FULL);
    assert_int_equal(ip_counts_get(admission.ip_counts, "192.0.2.1"), 1);
    assert_null(permits[2].address);
    admission_release(&admission, &permits[2]);
    admission_release(&admission, &permits[2]); /* it is empty */
    admission_release(&admission, &permits[1]);
    assert_int_equal(admission_take(&admission, "192.0.2.2", &permits[3]), ADMISSION_GRANTED);
    admission_release(&admission, &permits[3]);
    atomic_store(&admission.connections.max, 0); /* no limit */
    assert_int_equal(admission_take(&admission, "192.0.2.2", &permits[4]), ADMISSION_GRANTED);
    admission_release(&admission, &permits[4]);
    admission_release(&admission, &permits[0]);
}

/* The client of a trusted proxy: its address is known later, and may change with each request. */
static void test_an_address_that_is_known_later(void **state) {
    struct permit one, two, other;
    atomic_store(&admission.per_address, 1);
    assert_int_equal(admission_take(&admission, NULL, &one), ADMISSION_GRANTED);
    assert_int_equal(admission_take(&admission, NULL, &two), ADMISSION_GRANTED);
    assert_null(one.address);
    assert_null(admission_uploads_of(&one));
    assert_int_equal(admission_set_address(&admission, "192.0.2.1", &one), ADMISSION_GRANTED);
    assert_non_null(admission_uploads_of(&one));
    assert_int_equal(ip_counts_get(admission.ip_counts, "192.0.2.1"), 1);
    assert_int_equal(admission_set_address(&admission, "192.0.2.1", &one), ADMISSION_GRANTED);
    assert_int_equal(ip_counts_get(admission.ip_counts, "192.0.2.1"), 1);
    assert_int_equal(admission_set_address(&admission, "192.0.2.1", &two), ADMISSION_ADDRESS_FULL);
    assert_null(two.address);
    assert_true(two.refusal);
    assert_false(two.connection);
    admission_release(&admission, &two);
    assert_int_equal(admission_set_address(&admission, "192.0.2.2", &one), ADMISSION_GRANTED);
    assert_int_equal(ip_counts_get(admission.ip_counts, "192.0.2.1"), 0);
    assert_int_equal(admission_take(&admission, "192.0.2.1", &other), ADMISSION_GRANTED);
    assert_int_equal(admission_set_address(&admission, "192.0.2.1", &one), ADMISSION_ADDRESS_FULL);
    assert_int_equal(ip_counts_get(admission.ip_counts, "192.0.2.2"), 0);
    admission_release(&admission, &one);
    assert_int_equal(admission_take(&admission, NULL, &one), ADMISSION_GRANTED);
    assert_int_equal(admission_set_address(&admission, "unix", &one), ADMISSION_GRANTED);
    assert_null(admission_uploads_of(&one));
    admission_release(&admission, &one);
    admission_release(&admission, &other);
}

static void test_addresses(void **state) {
    struct permit one, two, three, other, local[3];
    atomic_store(&admission.per_address, 2);
    assert_int_equal(admission_take(&admission, "192.0.2.1", &one), ADMISSION_GRANTED);
    assert_int_equal(admission_take(&admission, "192.0.2.1", &two), ADMISSION_GRANTED);
    assert_int_equal(admission_take(&admission, "192.0.2.1", &three), ADMISSION_ADDRESS_FULL);
    assert_int_equal(admission_take(&admission, "192.0.2.2", &other), ADMISSION_GRANTED);
    for (int i = 0; i < 3; i++)
        assert_int_equal(admission_take(&admission, "unix", &local[i]), ADMISSION_GRANTED);
    assert_int_equal(limit_taken(&admission.connections), 6);
    admission_release(&admission, &one);
    admission_release(&admission, &two);
    admission_release(&admission, &three);
    admission_release(&admission, &other);
    for (int i = 0; i < 3; i++)
        admission_release(&admission, &local[i]);
}

static void test_refusals(void **state) {
    static struct permit permits[2000], one, late;
    atomic_store(&admission.connections.max, 1);
    assert_int_equal(admission_take(&admission, "192.0.2.1", &one), ADMISSION_GRANTED);
    int refused = 0;
    while (refused < 2000 &&
           admission_take(&admission, "192.0.2.2", &permits[refused]) == ADMISSION_SERVER_FULL)
        refused++;
    assert_in_range(refused, 100, 1000);
    assert_int_equal(limit_taken(&admission.connections), 1);
    admission_release(&admission, &one);
    assert_int_equal(admission_take(&admission, "192.0.2.2", &late), ADMISSION_GRANTED);
    admission_release(&admission, &late);
    for (int i = 0; i < refused; i++)
        admission_release(&admission, &permits[i]);
}

static void test_bytes(void **state) {
    struct byte_limit byte_limit = {.max = 100, .max_of_one = 40};
    _Atomic size_t one = 0, other = 0;
    assert_int_equal(limit_take_bytes(&byte_limit, &one, 41), LIMIT_TAKEN); /* it had no bytes */
    assert_int_equal(limit_take_bytes(&byte_limit, &one, 1), LIMIT_FULL_OF_ONE);
    assert_int_equal(limit_take_bytes(&byte_limit, &other, 30), LIMIT_TAKEN);
    assert_int_equal(limit_take_bytes(&byte_limit, &other, 10), LIMIT_TAKEN);
    assert_int_equal(limit_take_bytes(&byte_limit, &other, 1), LIMIT_FULL_OF_ONE);
    assert_int_equal(limit_take_bytes(&byte_limit, NULL, 19), LIMIT_TAKEN);
    assert_int_equal(limit_take_bytes(&byte_limit, NULL, 1), LIMIT_FULL);
    assert_int_equal(limit_take_bytes(&byte_limit, NULL, SIZE_MAX), LIMIT_FULL);
    assert_int_equal(byte_limit.taken, 100);
    limit_release_bytes(&byte_limit, &one, 41);
    assert_int_equal(limit_take_bytes(&byte_limit, NULL, 41), LIMIT_TAKEN);
    limit_release_bytes(&byte_limit, NULL, 60);
    limit_release_bytes(&byte_limit, &other, 40);
    assert_int_equal(byte_limit.taken, 0);
    assert_int_equal(one + other, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, finish)

static int wakes;

static void on_wake(uv_async_t *async) {
    (void)async;
    wakes++;
}

/* Idle sockets give their permits to new ones: the oldest first, and those of one address to that
 * address. */
static void test_idle_sockets(void **state) {
    (void)state;
    uv_loop_t loop;
    uv_async_t async;
    struct idle_worker worker;
    struct permit permits[4], more[3];
    struct idle_socket idle[4];
    const char *const remotes[] = {"192.0.2.1", "192.0.2.1", "192.0.2.2", "unix"};
    uv_loop_init(&loop);
    uv_async_init(&loop, &async, on_wake);
    idle_worker_init(&worker, &async);
    atomic_store(&admission.connections.max, 4);
    atomic_store(&admission.per_address, 2);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(admission_take(&admission, remotes[i], &permits[i]), ADMISSION_GRANTED);
        idle_sockets_add(admission.idle, &idle[i], &worker, &permits[i], remotes[i]);
    }
    assert_true(idle_sockets_remove(admission.idle, &idle[0])); /* it has a request */
    /* the other one of this address goes, then the oldest of all */
    assert_int_equal(admission_take(&admission, "192.0.2.1", &more[0]), ADMISSION_GRANTED);
    assert_int_equal(admission_take(&admission, "192.0.2.3", &more[1]), ADMISSION_GRANTED);
    assert_int_equal(limit_taken(&admission.connections), 4);
    assert_int_equal(ip_counts_get(admission.ip_counts, "192.0.2.1"), 2);
    assert_int_equal(ip_counts_get(admission.ip_counts, "192.0.2.2"), 0);
    assert_null(permits[1].address);
    assert_ptr_equal(idle_sockets_next_evicted(admission.idle, &worker), &idle[1]);
    assert_false(idle_sockets_remove(admission.idle, &idle[2])); /* its request comes too late */
    assert_null(idle_sockets_next_evicted(admission.idle, &worker));
    assert_true(idle_sockets_remove(admission.idle, &idle[2]));
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(wakes > 0);
    /* none of this address is idle; then none at all */
    assert_int_equal(admission_take(&admission, "192.0.2.1", &more[2]), ADMISSION_ADDRESS_FULL);
    admission_release(&admission, &more[2]);
    assert_true(admission_evict(&admission, NULL));
    assert_false(admission_evict(&admission, NULL));
    assert_int_equal(limit_taken(&admission.connections), 3);
    assert_ptr_equal(idle_sockets_next_evicted(admission.idle, &worker), &idle[3]);
    for (int i = 0; i < 4; i++)
        admission_release(&admission, &permits[i]);
    admission_release(&admission, &more[0]);
    admission_release(&admission, &more[1]);
    uv_close((uv_handle_t *)&async, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_places),    TEST(test_an_address_that_is_known_later),
        TEST(test_addresses), TEST(test_refusals),
        TEST(test_bytes),     TEST(test_idle_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
