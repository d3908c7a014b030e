/* token_bucket.h -- a rate with a burst: a bucket of tokens, which time refills.
 *
 * Each thing that the rate limits takes tokens out of the bucket: one for a message, one for each
 * byte. A full bucket has `burst` tokens. The bucket counts the tokens that are missing, so all
 * zeros is a full bucket of any rate. One thread at a time; knows no clock. */
#ifndef TIDEWIRE_BASE_TOKEN_BUCKET_H
#define TIDEWIRE_BASE_TOKEN_BUCKET_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* All zeros: no limit. */
struct token_rate {
    double per_ms; /* tokens that come back in a millisecond */
    double burst;  /* 0: no limit */
};

/* Negative: tokens above the burst, see token_bucket_refill_late(). */
struct token_bucket {
    double missing;
};

/* Sums of fractions are not exact; a millionth of a token does not matter. */
#define TOKEN_EXCESS 1e-6

/* `ms` milliseconds have passed. */
static inline void token_bucket_refill(struct token_bucket *bucket, const struct token_rate *rate,
                                       uint64_t ms) {
    double back = (double)ms * rate->per_ms;
    if (bucket->missing > back)
        bucket->missing -= back;
    else if (bucket->missing > 0)
        bucket->missing = 0;
}

/* The same after a wait for tokens that took `late` milliseconds too long: the bucket gets their
 * tokens beyond its burst too, so that late timers do not lower the rate. */
static inline void token_bucket_refill_late(struct token_bucket *bucket,
                                            const struct token_rate *rate, uint64_t ms,
                                            uint64_t late) {
    double left = bucket->missing - (double)ms * rate->per_ms;
    double least = -(double)late * rate->per_ms;
    bucket->missing = left > least ? left : least;
}

/* Are there so many tokens? */
static inline bool token_bucket_has(const struct token_bucket *bucket,
                                    const struct token_rate *rate, double tokens) {
    return rate->burst == 0 || bucket->missing + tokens <= rate->burst + TOKEN_EXCESS;
}

/* Takes tokens, more than there are if need be. */
static inline void token_bucket_take(struct token_bucket *bucket, const struct token_rate *rate,
                                     double tokens) {
    if (rate->burst > 0)
        bucket->missing += tokens;
}

/* Milliseconds until there are so many tokens; of more than the burst, until the bucket is full. */
static inline uint64_t token_bucket_wait_ms(const struct token_bucket *bucket,
                                            const struct token_rate *rate, double tokens) {
    if (token_bucket_has(bucket, rate, tokens) || bucket->missing <= 0)
        return 0;
    double most = rate->burst > tokens ? rate->burst - tokens : 0;
    return (uint64_t)ceil((bucket->missing - most) / rate->per_ms);
}

#endif
