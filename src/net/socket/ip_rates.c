/* ip_rates.c -- how fast each address may connect and send requests. See ip_rates.h.
 *
 * The list of entries is in the order of their last use. Each call looks at the first few, and
 * frees those whose buckets are full again. */
#include "net/socket/ip_rates.h"

#include "base/list.h"
#include "base/mem.h"
#include "base/table.h"
#include "net/socket/ip.h"

#include <stdatomic.h>
#include <string.h>
#include <uv.h>

/* Entries that one call looks at in order to free them: more than it adds. */
enum { LOOKS = 2 };

struct ip_rates {
    _Atomic bool is_set[IP_RATE_COUNT];
    uv_mutex_t lock;
    struct token_rate rates[IP_RATE_COUNT];
    struct table table;
    struct list by_use; /* the longest ago first */
};

struct entry {
    struct table_entry entry;
    struct list link;
    uint64_t at_ms; /* the buckets are as of this time */
    struct token_bucket buckets[IP_RATE_COUNT];
    struct ip network;
};

struct ip_rates *ip_rates_new(void) {
    struct ip_rates *rates = mem_zalloc(sizeof *rates);
    uv_mutex_init(&rates->lock);
    list_init(&rates->by_use);
    return rates;
}

static void remove_entry(struct ip_rates *rates, struct entry *entry) {
    table_remove(&rates->table, &entry->entry);
    list_remove(&entry->link);
    mem_free(entry);
}

static struct entry *first_entry(const struct ip_rates *rates) {
    return LIST_OWNER(rates->by_use.next, struct entry, link);
}

void ip_rates_free(struct ip_rates *rates) {
    if (rates == NULL)
        return;
    while (!list_empty(&rates->by_use))
        remove_entry(rates, first_entry(rates));
    table_close(&rates->table);
    uv_mutex_destroy(&rates->lock);
    mem_free(rates);
}

void ip_rates_set(struct ip_rates *rates, enum ip_rate which, struct token_rate rate) {
    uv_mutex_lock(&rates->lock);
    rates->rates[which] = rate;
    uv_mutex_unlock(&rates->lock);
    atomic_store(&rates->is_set[which], rate.burst > 0);
}

uint32_t ip_rates_count(struct ip_rates *rates) {
    uv_mutex_lock(&rates->lock);
    uint32_t count = rates->table.count;
    uv_mutex_unlock(&rates->lock);
    return count;
}

/* ---- under the lock ---- */

static void refill(const struct ip_rates *rates, struct entry *entry, uint64_t now_ms) {
    if (now_ms <= entry->at_ms)
        return;
    for (int i = 0; i < IP_RATE_COUNT; i++)
        token_bucket_refill(&entry->buckets[i], &rates->rates[i], now_ms - entry->at_ms);
    entry->at_ms = now_ms;
}

/* Does the entry say no more than no entry would? */
static bool is_full(const struct ip_rates *rates, const struct entry *entry) {
    for (int i = 0; i < IP_RATE_COUNT; i++)
        if (rates->rates[i].burst > 0 && entry->buckets[i].missing > 0)
            return false;
    return true;
}

static void free_full(struct ip_rates *rates, uint64_t now_ms) {
    for (int i = 0; i < LOOKS && !list_empty(&rates->by_use); i++) {
        struct entry *entry = first_entry(rates);
        refill(rates, entry, now_ms);
        if (!is_full(rates, entry))
            return;
        remove_entry(rates, entry);
    }
}

static struct slice key_of(const struct ip *network) {
    return (struct slice){(const char *)network, sizeof *network};
}

static struct entry *add_entry(struct ip_rates *rates, const struct ip *network, uint64_t now_ms) {
    if (rates->table.count >= IP_RATES_MAX)
        remove_entry(rates, first_entry(rates));
    struct entry *entry = mem_zalloc(sizeof *entry);
    entry->at_ms = now_ms;
    entry->network = *network;
    entry->entry.key = key_of(&entry->network);
    list_init(&entry->link);
    table_add(&rates->table, &entry->entry);
    return entry;
}

static uint64_t take(struct ip_rates *rates, enum ip_rate which, const struct ip *network,
                     uint64_t now_ms) {
    const struct token_rate *rate = &rates->rates[which];
    free_full(rates, now_ms);
    struct table_entry *found = table_find(&rates->table, key_of(network));
    struct entry *entry =
        found == NULL ? add_entry(rates, network, now_ms) : TABLE_OWNER(found, struct entry, entry);
    refill(rates, entry, now_ms);
    list_remove(&entry->link);
    list_append(&rates->by_use, &entry->link);
    uint64_t wait_ms = token_bucket_wait_ms(&entry->buckets[which], rate, 1);
    if (wait_ms == 0)
        token_bucket_take(&entry->buckets[which], rate, 1);
    return wait_ms;
}

/* ---- */

uint64_t ip_rates_take(struct ip_rates *rates, enum ip_rate which, const char *address,
                       uint64_t now_ms) {
    struct ip ip;
    if (!atomic_load_explicit(&rates->is_set[which], memory_order_relaxed) ||
        !ip_parse((struct slice){address, strcspn(address, "%")}, &ip))
        return 0;
    struct ip network = ip_client_network(&ip);
    uv_mutex_lock(&rates->lock);
    uint64_t wait_ms = take(rates, which, &network, now_ms);
    uv_mutex_unlock(&rates->lock);
    return wait_ms;
}
