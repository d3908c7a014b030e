/* sni.h -- certificates by the server name that a client asks for (SNI, RFC 6066 section 3).
 *
 * Names are compared without case. "*.example.com" stands for one label: "a.example.com", and
 * neither "example.com" nor "a.b.example.com" (RFC 6125 section 6.4.3). Read-only once filled. */
#ifndef TIDEWIRE_NET_SOCKET_SNI_H
#define TIDEWIRE_NET_SOCKET_SNI_H

#include "base/table.h"

struct sni {
    struct table names; /* private */
};

/* Adds a name for `value`, which is borrowed; the first value of a name counts. */
void sni_add(struct sni *sni, const char *name, void *value);
/* The value of a client's name; of two that fit the one without "*". NULL: none. */
void *sni_find(const struct sni *sni, const char *name);
void sni_close(struct sni *sni);

#endif
