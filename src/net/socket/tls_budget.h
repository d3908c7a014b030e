/* tls_budget.h -- how many messages without data the peer of a TLS connection may send.
 *
 * Once the connection is open, a peer may send some messages that carry no data (KeyUpdate,
 * attempts to renegotiate, warnings, empty records), and more as it sends data and as time passes:
 * each costs new keys or an answer, and no peer needs many (RFC 8446 section 4.6.3). */
#ifndef TIDEWIRE_NET_SOCKET_TLS_BUDGET_H
#define TIDEWIRE_NET_SOCKET_TLS_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_budget {
    unsigned left;
    size_t bytes; /* of data that have not yet earned one more */
    uint64_t ns;  /* until when seconds have earned more */
};

void tls_budget_init(struct tls_budget *budget);
void tls_budget_earn(struct tls_budget *budget, size_t bytes); /* bytes of data have come */
/* One message without data. False: too many. */
bool tls_budget_take(struct tls_budget *budget);

#endif
