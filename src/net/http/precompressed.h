/* precompressed.h -- compressed files beside a static file: "app.js.br" and "app.js.gz" beside
 * "app.js".
 *
 * Chooses one by the request's Accept-Encoding (RFC 9110 §12.5.3). Owns nothing; blocking file
 * system calls; any thread. Knows no responses. */
#ifndef TIDEWIRE_NET_HTTP_PRECOMPRESSED_H
#define TIDEWIRE_NET_HTTP_PRECOMPRESSED_H

#include "net/http/beneath.h"
#include "net/http/request.h"

#include <sys/stat.h>

enum { PRECOMPRESSED_SUFFIX = 4 }; /* bytes of the longest suffix with its NUL */

/* What a request says of one content coding: a weight from 0, not acceptable, to 1000. -1: nothing.
 * "*" counts for codings that are not named. */
int precompressed_weight(const struct request *r, const char *coding);

/* Replaces the open file by its variant for this client: `name` is the file's name below the
 * folder, with room for PRECOMPRESSED_SUFFIX more bytes, and is changed; `fd` and `st` are those of
 * the file, and then of the variant. Returns the content coding of the variant, a constant; NULL:
 * the file itself. `varies` says whether the file has variants. A variant that is empty, or older
 * than the file by a second or more, does not count. */
const char *precompressed_choose(const struct beneath *root, const struct request *r, char *name,
                                 int *fd, struct stat *st, bool *varies);

#endif
