/* shared_rate.h -- a rate that all clients of all workers share. Any thread. */
#ifndef TIDEWIRE_NET_SOCKET_SHARED_RATE_H
#define TIDEWIRE_NET_SOCKET_SHARED_RATE_H

#include "base/token_bucket.h"

#include <stdbool.h>
#include <stdint.h>

struct shared_rate;

/* Without a limit. */
struct shared_rate *shared_rate_new(void);
void shared_rate_free(struct shared_rate *rate);
void shared_rate_set(struct shared_rate *rate, struct token_rate limit);
/* Takes a token; `now_ms` is monotonic, and may be somewhat behind that of another thread. False:
 * there is none. */
bool shared_rate_take(struct shared_rate *rate, uint64_t now_ms);

#endif
