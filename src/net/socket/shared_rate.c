/* shared_rate.c -- a rate that all clients share. See shared_rate.h. */
#include "net/socket/shared_rate.h"

#include "base/mem.h"

#include <uv.h>

struct shared_rate {
    uv_mutex_t mutex;
    struct token_rate limit;
    struct token_bucket bucket;
    uint64_t filled_ms;
};

struct shared_rate *shared_rate_new(void) {
    struct shared_rate *rate = mem_zalloc(sizeof *rate);
    uv_mutex_init(&rate->mutex);
    return rate;
}

void shared_rate_free(struct shared_rate *rate) {
    uv_mutex_destroy(&rate->mutex);
    mem_free(rate);
}

void shared_rate_set(struct shared_rate *rate, struct token_rate limit) {
    uv_mutex_lock(&rate->mutex);
    rate->limit = limit;
    uv_mutex_unlock(&rate->mutex);
}

bool shared_rate_take(struct shared_rate *rate, uint64_t now_ms) {
    uv_mutex_lock(&rate->mutex);
    if (now_ms > rate->filled_ms) {
        token_bucket_refill(&rate->bucket, &rate->limit, now_ms - rate->filled_ms);
        rate->filled_ms = now_ms;
    }
    bool has = token_bucket_has(&rate->bucket, &rate->limit, 1);
    if (has)
        token_bucket_take(&rate->bucket, &rate->limit, 1);
    uv_mutex_unlock(&rate->mutex);
    return has;
}
