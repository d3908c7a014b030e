/* cosocket_pool.c -- connections that scripts have kept. See cosocket_pool.h.
 *
 * What happens to a kept connection, or its time, makes it due; it is closed in the next turn,
 * because a socket must not be freed inside a call that came from it. */
#include "net/cosocket/cosocket_pool.h"

#include "base/list.h"
#include "base/mem.h"
#include "base/table.h"

struct cosocket_pools {
    struct stats *stats;
    struct table keys;
    struct list by_age; /* all that are not due; the first one was kept first */
    struct list due;
    uv_idle_t sweep; /* active while any is due */
};

/* Those of one key. */
struct pool {
    struct table_entry entry;
    struct list kept; /* the last one was kept last */
    uint32_t count;
    char key[];
};

struct kept {
    struct list link, by_age; /* by_age: or in `due` */
    struct cosocket_pools *pools;
    struct pool *pool;
    struct cosocket *socket;
};

/* Takes it out of its lists. The caller has the socket. */
static struct cosocket *take_out(struct kept *kept) {
    struct cosocket_pools *pools = kept->pools;
    struct pool *pool = kept->pool;
    struct cosocket *socket = kept->socket;
    list_remove(&kept->link);
    list_remove(&kept->by_age);
    cosocket_wait(socket, COSOCKET_IN, UINT64_MAX, NULL, NULL, 0);
    mem_free(kept);
    stats_add(&pools->stats->cosockets_kept, (uint64_t)-1);
    if (--pool->count > 0)
        return socket;
    table_remove(&pools->keys, &pool->entry);
    mem_free(pool);
    return socket;
}

static void on_sweep(uv_idle_t *sweep) {
    struct cosocket_pools *pools = sweep->data;
    while (!list_empty(&pools->due))
        cosocket_free(take_out(LIST_OWNER(pools->due.next, struct kept, by_age)));
    uv_idle_stop(sweep);
}

/* The peer has closed it or has sent something, or its time is over. */
static void on_ready(void *context, uint64_t tag) {
    (void)tag;
    struct kept *kept = context;
    list_remove(&kept->by_age);
    list_append(&kept->pools->due, &kept->by_age);
    uv_idle_start(&kept->pools->sweep, on_sweep);
}

static struct pool *pool_of(struct cosocket_pools *pools, struct slice key) {
    struct table_entry *entry = table_find(&pools->keys, key);
    if (entry != NULL)
        return TABLE_OWNER(entry, struct pool, entry);
    struct pool *pool = mem_zalloc(sizeof *pool + key.len);
    list_init(&pool->kept);
    memcpy(pool->key, key.bytes, key.len);
    pool->entry.key = (struct slice){pool->key, key.len};
    table_add(&pools->keys, &pool->entry);
    return pool;
}

void cosocket_pools_add(struct cosocket_pools *pools, struct cosocket *socket, struct slice key,
                        uint64_t idle_ms, uint32_t most) {
    struct pool *pool = pool_of(pools, key);
    struct kept *kept = mem_zalloc(sizeof *kept);
    *kept = (struct kept){.pools = pools, .pool = pool, .socket = socket};
    list_init(&kept->link);
    list_init(&kept->by_age);
    list_append(&pool->kept, &kept->link);
    list_append(&pools->by_age, &kept->by_age);
    pool->count++;
    stats_add(&pools->stats->cosockets_kept, 1);
    cosocket_wait(socket, COSOCKET_IN, idle_ms, on_ready, kept, 0);
    while (pool->count > most) /* never the last one: `most` is at least 1 */
        cosocket_free(take_out(LIST_OWNER(pool->kept.next, struct kept, link)));
}

struct cosocket *cosocket_pools_take(struct cosocket_pools *pools, struct slice key) {
    for (struct table_entry *entry; (entry = table_find(&pools->keys, key)) != NULL;) {
        struct pool *pool = TABLE_OWNER(entry, struct pool, entry);
        struct cosocket *socket = take_out(LIST_OWNER(pool->kept.prev, struct kept, link));
        if (cosocket_check_idle(socket) == COSOCKET_DONE)
            return socket;
        cosocket_free(socket);
    }
    return NULL;
}

bool cosocket_pools_close_oldest(struct cosocket_pools *pools) {
    struct list *all[] = {&pools->due, &pools->by_age};
    for (int i = 0; i < 2; i++)
        if (!list_empty(all[i])) {
            cosocket_free(take_out(LIST_OWNER(all[i]->next, struct kept, by_age)));
            return true;
        }
    return false;
}

struct cosocket_pools *cosocket_pools_new(uv_loop_t *loop, struct stats *stats) {
    struct cosocket_pools *pools = mem_zalloc(sizeof *pools);
    pools->stats = stats;
    list_init(&pools->by_age);
    list_init(&pools->due);
    uv_idle_init(loop, &pools->sweep);
    pools->sweep.data = pools;
    return pools;
}

void cosocket_pools_stop(struct cosocket_pools *pools) {
    while (cosocket_pools_close_oldest(pools))
        continue;
    uv_close((uv_handle_t *)&pools->sweep, NULL);
}

void cosocket_pools_free(struct cosocket_pools *pools) {
    table_close(&pools->keys);
    mem_free(pools);
}
