/* test_pool.c -- a pool with real threads and modules: two clients, as two workers have; calls in
 * order, limits of the queue, closing with calls under way, and the end. */
#include "script/pool/pool_client.h"
#include "script/pool/pool_figures.h"
#include "script/pool/pools.h"

#include "base/clock.h"
#include "base/mem.h"
#include "script/bind/bindings.h"
#include "script/plain/plain_data.h"
#include "server/workers/thread.h" /* thread_create, by its own name */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char MODULE[] = "local M = {}\n"
                             "function M.echo(...) return ... end\n"
                             "function M.waits(gate) repeat until io.open(gate) end\n"
                             "return M\n";

static char folder[] = "/tmp/test_pool_XXXXXX", path[64];
static uv_loop_t loop;
static struct pools *pools;
static unsigned woken;
static bool has_tasks;

/* ---- what the server does for pools ---- */

static void watch(void *user, struct budget *budget, const char *name) {
    (void)user, (void)budget, (void)name;
}

static void release(void *user, const struct budget *budget) {
    (void)user, (void)budget;
}

static bool wake(void *user, uint64_t task) {
    (void)user, (void)task;
    woken++;
    return has_tasks;
}

static int set_up(void **state) {
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/?.lua", folder);
    char name[64];
    snprintf(name, sizeof name, "%s/m.lua", folder);
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fputs(MODULE, file);
    fclose(file);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    char name[64];
    snprintf(name, sizeof name, "%s/m.lua", folder);
    unlink(name);
    snprintf(name, sizeof name, "%s/gate", folder);
    unlink(name);
    rmdir(folder);
    return 0;
}

static int open_pools(void **state) {
    (void)state;
    uv_loop_init(&loop);
    pools = pools_new(&(struct pools_functions){
        .bindings = &bindings, .start = thread_start_sized, .watch = watch, .release = release});
    woken = 0;
    has_tasks = true;
    return 0;
}

static int close_pools(void **state) {
    (void)state;
    char why[POOLS_WHY_BYTES];
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(pools_end(pools, 60000, why, sizeof why));
    pools_free(pools);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

/* ---- a client ---- */

static struct pool_options options(unsigned threads, uint64_t queue) {
    return (struct pool_options){.name = "m",
                                 .generation = 1,
                                 .threads = threads,
                                 .queue = queue,
                                 .queue_bytes = 1000,
                                 .memory = 64 << 20,
                                 .budget = 60,
                                 .load_budget = 60,
                                 .path = path,
                                 .library_path = "",
                                 .cpath = ""};
}

static uint64_t open_pool(struct pool_client *client, const struct pool_options *with) {
    char why[256];
    uint64_t pool = pool_client_open(client, with, why, sizeof why);
    if (pool == 0)
        fail_msg("%s", why);
    return pool;
}

static uint64_t call(struct pool_client *client, uint64_t pool, const char *function,
                     const char *text, enum pool_status *status) {
    struct buffer *arguments = pool_client_arguments(client);
    plain_data_write_text(arguments, function, strlen(function));
    plain_data_write_text(arguments, text, strlen(text));
    return pool_client_call(client, pool, 1, 60000, status);
}

static void wait_woken(unsigned count) {
    while (woken < count)
        uv_run(&loop, UV_RUN_ONCE);
}

static struct pool_client *new_client(void) {
    return pool_client_new(pools, &loop, wake, NULL);
}

/* ---- the tests ---- */

static void test_shares_and_calls(void **state) {
    (void)state;
    struct pool_client *one = new_client(), *other = new_client();
    struct pool_options with = options(3, 10);
    enum pool_status status;
    struct slice results;
    uint64_t first = open_pool(one, &with), second = open_pool(other, &with);
    uint64_t load = pool_client_load(one, first, 1);
    if (load != 0) {
        wait_woken(1);
        pool_client_forget(one, load);
    }
    assert_int_equal(pool_client_failure(one, first).len, 0);
    assert_true(pool_client_files(one, first).len > 0);
    woken = 0;
    uint64_t a = call(one, first, "echo", "one", &status);
    uint64_t b = call(other, second, "echo", "other", &status);
    assert_false(pool_client_result(one, 7, &status, &results));
    wait_woken(2);
    assert_true(pool_client_result(one, a, &status, &results));
    assert_int_equal(status, POOL_RETURNED);
    assert_int_equal(results.len, 5);
    assert_memory_equal(results.bytes + 2, "one", 3);
    assert_true(pool_client_result(other, b, &status, &results));
    assert_memory_equal(results.bytes + 2, "other", 5);
    pool_client_forget(one, a);
    assert_false(pool_client_result(one, a, &status, &results));
    pool_client_forget(other, b);
    char why[256];
    with.threads = 4;
    assert_int_equal(pool_client_open(one, &with, why, sizeof why), 0);
    assert_non_null(strstr(why, "threads"));
    pool_client_close(one);
    pool_client_close(other);
}

/* A thread that has begun to run a function takes no place in the queue. */
static void wait_busy(void *user, const struct pool_figures *figures) {
    bool *busy = user;
    *busy = figures->busy > 0 && figures->queue == 0;
}

static void test_queue_is_limited(void **state) {
    (void)state;
    struct pool_client *client = new_client();
    struct pool_options with = options(1, 3);
    enum pool_status status;
    uint64_t pool = open_pool(client, &with), calls[4];
    char gate[64];
    snprintf(gate, sizeof gate, "%s/gate", folder);
    calls[0] = call(client, pool, "waits", gate, &status);
    for (bool busy = false; !busy; uv_sleep(1))
        pools_figures(pools, wait_busy, &busy);
    for (int i = 1; i < 4; i++)
        assert_int_not_equal(calls[i] = call(client, pool, "echo", "x", &status), 0);
    for (int i = 0; i < 3; i++) { /* refused calls change nothing */
        assert_int_equal(call(client, pool, "echo", "y", &status), 0);
        assert_int_equal(status, POOL_FULL);
    }
    pool_client_forget(client, calls[3]);
    assert_int_not_equal(calls[3] = call(client, pool, "echo", "z", &status), 0);
    pool_client_forget(client, calls[3]);
    char *text = mem_zalloc(1000);
    memset(text, 'x', 990);
    assert_int_equal(call(client, pool, "echo", text, &status), 0);
    assert_int_equal(status, POOL_FULL);
    mem_free(text);
    assert_true(pool_client_has_calls(client));
    pool_client_close(client); /* with calls that wait, and one that runs */
    FILE *file = fopen(gate, "w");
    assert_non_null(file);
    fclose(file);
}

static void test_results_for_no_task(void **state) {
    (void)state;
    struct pool_client *client = new_client();
    struct pool_options with = options(2, 1000);
    enum pool_status status;
    uint64_t pool = open_pool(client, &with);
    has_tasks = false;
    for (int i = 0; i < 100; i++)
        assert_int_not_equal(call(client, pool, "echo", "x", &status), 0);
    wait_woken(100);
    assert_false(pool_client_has_calls(client));
    pool_client_close(client);
}

static void test_closed(void **state) {
    (void)state;
    struct pool_client *client = new_client();
    struct pool_options with = options(1, 10);
    enum pool_status status;
    uint64_t pool = open_pool(client, &with);
    uint64_t last = call(client, pool, "echo", "x", &status);
    pool_client_release(client, pool);
    assert_int_equal(call(client, pool, "echo", "y", &status), 0);
    assert_int_equal(status, POOL_CLOSED);
    wait_woken(1); /* the call before is made */
    pool_client_forget(client, last);
    pool_client_close(client);
}

static void test_no_module(void **state) {
    (void)state;
    struct pool_client *client = new_client();
    struct pool_options with = options(3, 10);
    with.name = "none";
    uint64_t pool = open_pool(client, &with);
    uint64_t load = pool_client_load(client, pool, 1);
    if (load != 0) {
        wait_woken(1);
        pool_client_forget(client, load);
    }
    struct slice why = pool_client_failure(client, pool);
    enum pool_status status;
    assert_int_equal(call(client, pool, "echo", "x", &status), 0);
    assert_int_equal(status, POOL_CLOSED);
    assert_non_null(memmem(why.bytes, why.len, "module 'none' not found", 23));
    pool_client_close(client);
}

/* Calls that wait while the module is loaded in vain. */
static void test_call_before_failure(void **state) {
    (void)state;
    struct pool_client *client = new_client();
    struct pool_options with = options(1, 10);
    enum pool_status status;
    struct slice results;
    with.name = "none";
    uint64_t pool = open_pool(client, &with), early = call(client, pool, "echo", "x", &status);
    if (early != 0) {
        wait_woken(1);
        assert_true(pool_client_result(client, early, &status, &results));
    }
    assert_int_equal(status, POOL_CLOSED);
    pool_client_close(client);
}

#define WITH_POOLS(test) cmocka_unit_test_setup_teardown(test, open_pools, close_pools)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_POOLS(test_shares_and_calls),    WITH_POOLS(test_queue_is_limited),
        WITH_POOLS(test_results_for_no_task), WITH_POOLS(test_closed),
        WITH_POOLS(test_no_module),           WITH_POOLS(test_call_before_failure),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
