/* admission.c -- who may hold a socket. See admission.h. */
#include "net/socket/admission.h"

#include <string.h>

/* More sockets than these are not told why they are refused, so that refusing needs not many
 * descriptors either: the program asks for 1024 beyond limits.connections. */
enum { MAX_REFUSALS = 512 };

void admission_init(struct admission *admission) {
    memset(admission, 0, sizeof *admission);
    admission->addresses = ip_counts_new();
    atomic_init(&admission->refusals.max, MAX_REFUSALS);
}

void admission_close(struct admission *admission) {
    ip_counts_free(admission->addresses);
}

static enum admitted refuse(struct admission *admission, struct ticket *ticket, enum admitted why) {
    ticket->refused = limit_take(&admission->refusals);
    return ticket->refused ? why : ADMITTED_NOT_AT_ALL;
}

enum admitted admission_take(struct admission *admission, const char *remote,
                             struct ticket *ticket) {
    bool is_unix = strcmp(remote, "unix") == 0;
    uint32_t max = is_unix ? 0 : atomic_load(&admission->per_address);
    *ticket = (struct ticket){.has_share = !is_unix};
    ticket->address = ip_counts_add(admission->addresses, remote, max);
    if (ticket->address == NULL)
        return refuse(admission, ticket, ADMITTED_NOT_OF_ADDRESS);
    ticket->placed = limit_take(&admission->connections);
    if (ticket->placed)
        return ADMITTED;
    admission_give(admission, ticket);
    return refuse(admission, ticket, ADMITTED_NOT);
}

_Atomic size_t *admission_uploads_of(const struct ticket *ticket) {
    bool has_share = ticket->has_share && ticket->address != NULL;
    return has_share ? ip_counts_uploads(ticket->address) : NULL;
}

_Atomic size_t *admission_responses_of(const struct ticket *ticket) {
    bool has_share = ticket->has_share && ticket->address != NULL;
    return has_share ? ip_counts_responses(ticket->address) : NULL;
}

void admission_give(struct admission *admission, struct ticket *ticket) {
    if (ticket->address != NULL)
        ip_counts_remove(ticket->address);
    if (ticket->placed)
        limit_release(&admission->connections);
    if (ticket->refused)
        limit_release(&admission->refusals);
    *ticket = (struct ticket){0};
}
