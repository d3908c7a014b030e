/* pool_figures.c -- the counts of pools. See pool_figures.h.
 *
 * The counts of a name stay until the process ends: names come from code, and are few. */
#include "script/pool/pool_parts.h"

#include "base/mem.h"

#include <string.h>

struct pool_counts *pool_counts_of(struct pools *pools, const char *name) {
    for (struct list *link = pools->counts.next; link != &pools->counts; link = link->next) {
        struct pool_counts *counts = LIST_OWNER(link, struct pool_counts, link);
        if (strcmp(counts->figures.name, name) == 0)
            return counts;
    }
    struct pool_counts *counts = mem_zalloc(sizeof *counts);
    counts->figures.name = mem_strdup(name);
    uv_mutex_init(&counts->lock);
    list_append(&pools->counts, &counts->link);
    return counts;
}

void pool_counts_close(struct pools *pools) {
    while (!list_empty(&pools->counts)) {
        struct pool_counts *counts = LIST_OWNER(pools->counts.next, struct pool_counts, link);
        list_remove(&counts->link);
        uv_mutex_destroy(&counts->lock);
        mem_free((char *)counts->figures.name);
        mem_free(counts);
    }
}

/* ---- counting ---- */

static struct pool_figures *lock(struct pool *pool) {
    uv_mutex_lock(&pool->counts->lock);
    return &pool->counts->figures;
}

static void unlock(struct pool *pool) {
    uv_mutex_unlock(&pool->counts->lock);
}

static void add_time(struct pool_times *times, uint64_t ns) {
    static const uint16_t bounds_ms[] = POOL_TIME_BOUNDS;
    unsigned bucket = 0;
    while (bucket < POOL_TIME_BUCKETS - 1 && ns > bounds_ms[bucket] * UINT64_C(1000000))
        bucket++;
    times->buckets[bucket]++;
    times->sum_ns += ns;
}

void pool_count_call(struct pool *pool) {
    lock(pool)->calls++;
    unlock(pool);
}

void pool_count_refusal(struct pool *pool) {
    lock(pool)->refused++;
    unlock(pool);
}

void pool_count_timeout(struct pool *pool) {
    lock(pool)->timeouts++;
    unlock(pool);
}

void pool_count_wait(struct pool *pool, uint64_t ns) {
    add_time(&lock(pool)->wait, ns);
    unlock(pool);
}

void pool_count_run(struct pool *pool, uint64_t ns, bool has_thrown) {
    struct pool_figures *figures = lock(pool);
    add_time(&figures->run, ns);
    figures->errors += has_thrown;
    unlock(pool);
}

/* ---- reading ---- */

/* Adds what the pools with this name have now. With pools->lock. */
static void add_gauges(struct pools *pools, const struct pool_counts *counts,
                       struct pool_figures *figures) {
    for (struct list *link = pools->all.next; link != &pools->all; link = link->next) {
        struct pool *pool = LIST_OWNER(link, struct pool, link);
        if (pool->counts != counts)
            continue;
        uv_mutex_lock(&pool->lock);
        figures->threads += pool->alive;
        figures->busy += pool->busy;
        figures->queue += pool->queued;
        figures->queue_bytes += pool->queued_bytes;
        uv_mutex_unlock(&pool->lock);
    }
}

void pools_figures(struct pools *pools, void (*f)(void *user, const struct pool_figures *figures),
                   void *user) {
    uv_mutex_lock(&pools->lock);
    for (struct list *link = pools->counts.next; link != &pools->counts; link = link->next) {
        struct pool_counts *counts = LIST_OWNER(link, struct pool_counts, link);
        uv_mutex_lock(&counts->lock);
        struct pool_figures figures = counts->figures;
        uv_mutex_unlock(&counts->lock);
        add_gauges(pools, counts, &figures);
        f(user, &figures);
    }
    uv_mutex_unlock(&pools->lock);
}
