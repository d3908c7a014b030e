/* tls_budget.c -- messages without data in a TLS connection. See tls_budget.h. */
#include "net/socket/tls_budget.h"

#include "base/clock.h"

/* FREE_MESSAGES at once, and one more for each MESSAGE_BYTES of data and for each second. */
enum { FREE_MESSAGES = 32, MESSAGE_BYTES = 16 * 1024 };

static const uint64_t second_ns = 1000000000;

void tls_budget_init(struct tls_budget *budget) {
    *budget = (struct tls_budget){.left = FREE_MESSAGES, .ns = clock_monotonic_ns()};
}

void tls_budget_earn(struct tls_budget *budget, size_t bytes) {
    budget->bytes += bytes;
}

/* Adds what time and data have earned since the last call. */
static void refill(struct tls_budget *budget) {
    uint64_t seconds = (clock_monotonic_ns() - budget->ns) / second_ns;
    uint64_t left = budget->left + seconds + budget->bytes / MESSAGE_BYTES;
    budget->ns += seconds * second_ns;
    budget->bytes %= MESSAGE_BYTES;
    budget->left = left < FREE_MESSAGES ? (unsigned)left : FREE_MESSAGES;
}

bool tls_budget_take(struct tls_budget *budget) {
    if (budget->left == 0)
        refill(budget);
    if (budget->left == 0)
        return false;
    budget->left--;
    return true;
}
