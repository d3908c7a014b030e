/* admission.c -- which sockets the process admits. See admission.h. */
#include "net/socket/admission.h"

#include "net/socket/ip.h"

#include <string.h>

/* Sockets that are being refused at once; others are closed without an answer, so that refusals
 * need few descriptors. src/server/resources.c asks for 4096 more than limits.connections. */
enum { MAX_REFUSALS = 512 };

void admission_init(struct admission *admission) {
    memset(admission, 0, sizeof *admission);
    admission->ip_counts = ip_counts_new();
    admission->idle = idle_sockets_new();
    admission->ip_rates = ip_rates_new();
    admission->tls = shared_rate_new();
    atomic_init(&admission->refusals.max, MAX_REFUSALS);
}

void admission_close(struct admission *admission) {
    idle_sockets_free(admission->idle);
    ip_counts_free(admission->ip_counts);
    ip_rates_free(admission->ip_rates);
    shared_rate_free(admission->tls);
}

static enum admission_result refuse(struct admission *admission, struct permit *permit,
                                    enum admission_result result) {
    permit->refusal = limit_take(&admission->refusals);
    return permit->refusal ? result : ADMISSION_DROP;
}

enum admission_result admission_refuse_fast(struct admission *admission, struct permit *permit) {
    admission_release(admission, permit);
    return refuse(admission, permit, ADMISSION_ADDRESS_FAST);
}

/* What the limits on one address count: IPv6 clients by their networks. */
static const char *client_of(const char *remote, char text[IP_TEXT_BYTES]) {
    struct ip ip;
    if (!ip_parse((struct slice){remote, strcspn(remote, "%")}, &ip))
        return remote;
    ip = ip_client_network(&ip);
    return ip_format(&ip, text);
}

bool admission_evict(struct admission *admission, const char *remote) {
    struct permit permit;
    if (!idle_sockets_evict(admission->idle, remote, &permit))
        return false;
    admission_release(admission, &permit);
    return true;
}

/* Clients of Unix sockets have no address, and so neither limit nor share. An idle socket of the
 * address goes before a new one is refused. False: the address has limits.per_address connections
 * already. */
static bool add_address(struct admission *admission, const char *remote, struct permit *permit) {
    char text[IP_TEXT_BYTES];
    bool is_unix = strcmp(remote, "unix") == 0;
    uint32_t max = is_unix ? 0 : atomic_load(&admission->per_address);
    permit->has_share = !is_unix;
    const char *client = client_of(remote, text);
    do
        permit->address = ip_counts_add(admission->ip_counts, client, max);
    while (permit->address == NULL && admission_evict(admission, client));
    return permit->address != NULL;
}

static bool add_connection(struct admission *admission) {
    while (!limit_take(&admission->connections))
        if (!admission_evict(admission, NULL))
            return false;
    return true;
}

enum admission_result admission_take(struct admission *admission, const char *remote,
                                     struct permit *permit) {
    *permit = (struct permit){0};
    if (remote != NULL && !add_address(admission, remote, permit))
        return refuse(admission, permit, ADMISSION_ADDRESS_FULL);
    permit->connection = add_connection(admission);
    if (permit->connection)
        return ADMISSION_GRANTED;
    admission_release(admission, permit);
    return refuse(admission, permit, ADMISSION_SERVER_FULL);
}

enum admission_result admission_take_again(struct admission *admission, const char *remote,
                                           struct permit *permit) {
    *permit = (struct permit){0};
    if (remote != NULL && !add_address(admission, remote, permit))
        return refuse(admission, permit, ADMISSION_ADDRESS_FULL);
    limit_take_anyway(&admission->connections);
    permit->connection = true;
    return ADMISSION_GRANTED;
}

enum admission_result admission_set_address(struct admission *admission, const char *remote,
                                            struct permit *permit) {
    struct ip_count *before = permit->address;
    char text[IP_TEXT_BYTES];
    if (before != NULL && ip_counts_is(before, client_of(remote, text)))
        return ADMISSION_GRANTED;
    bool added = add_address(admission, remote, permit);
    if (before != NULL)
        ip_counts_remove(before);
    if (added)
        return ADMISSION_GRANTED;
    admission_release(admission, permit);
    return refuse(admission, permit, ADMISSION_ADDRESS_FULL);
}

void admission_forget_address(struct permit *permit) {
    if (permit->address != NULL)
        ip_counts_remove(permit->address);
    permit->address = NULL;
}

static bool has_share(const struct permit *permit) {
    return permit->has_share && permit->address != NULL;
}

_Atomic size_t *admission_uploads_of(const struct permit *permit) {
    return has_share(permit) ? ip_counts_uploads(permit->address) : NULL;
}

_Atomic size_t *admission_responses_of(const struct permit *permit) {
    return has_share(permit) ? ip_counts_responses(permit->address) : NULL;
}

bool admission_take_tls(struct admission *admission, uint64_t now_ms) {
    return shared_rate_take(admission->tls, now_ms);
}

void admission_release(struct admission *admission, struct permit *permit) {
    if (permit->address != NULL)
        ip_counts_remove(permit->address);
    if (permit->connection)
        limit_release(&admission->connections);
    if (permit->refusal)
        limit_release(&admission->refusals);
    *permit = (struct permit){0};
}
