/* admission.c -- who may hold a socket. See admission.h. */
#include "net/socket/admission.h"

#include <string.h>

/* More sockets than these are not told why they are refused, so that refusing needs not many
 * descriptors either: the program asks for 1024 beyond limits.connections. */
enum { MAX_REFUSALS = 512 };

void admission_init(struct admission *admission) {
    memset(admission, 0, sizeof *admission);
    admission->ip_counts = ip_counts_new();
    atomic_init(&admission->refusals.max, MAX_REFUSALS);
}

void admission_close(struct admission *admission) {
    ip_counts_free(admission->ip_counts);
}

static enum admission_result refuse(struct admission *admission, struct permit *permit,
                                    enum admission_result why) {
    permit->refused = limit_take(&admission->refusals);
    return permit->refused ? why : ADMISSION_DROP;
}

enum admission_result admission_take(struct admission *admission, const char *remote,
                                     struct permit *permit) {
    bool is_unix = strcmp(remote, "unix") == 0;
    uint32_t max = is_unix ? 0 : atomic_load(&admission->per_address);
    *permit = (struct permit){.has_share = !is_unix};
    permit->address = ip_counts_add(admission->ip_counts, remote, max);
    if (permit->address == NULL)
        return refuse(admission, permit, ADMISSION_ADDRESS_FULL);
    permit->placed = limit_take(&admission->connections);
    if (permit->placed)
        return ADMISSION_GRANTED;
    admission_release(admission, permit);
    return refuse(admission, permit, ADMISSION_SERVER_FULL);
}

_Atomic size_t *admission_uploads_of(const struct permit *permit) {
    bool has_share = permit->has_share && permit->address != NULL;
    return has_share ? ip_counts_uploads(permit->address) : NULL;
}

_Atomic size_t *admission_responses_of(const struct permit *permit) {
    bool has_share = permit->has_share && permit->address != NULL;
    return has_share ? ip_counts_responses(permit->address) : NULL;
}

void admission_release(struct admission *admission, struct permit *permit) {
    if (permit->address != NULL)
        ip_counts_remove(permit->address);
    if (permit->placed)
        limit_release(&admission->connections);
    if (permit->refused)
        limit_release(&admission->refusals);
    *permit = (struct permit){0};
}
