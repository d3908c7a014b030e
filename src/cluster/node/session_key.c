/* session_key.c -- what Redis and other machines see of a session's secret: a part of its SHA-256.
 */
#include "cluster/node/session_parts.h"

#include <openssl/evp.h>

struct session_key session_key_of(struct slice secret) {
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    struct session_key key;
    EVP_Digest(secret.bytes, secret.len, digest, NULL, EVP_sha256(), NULL);
    memcpy(key.bytes, digest, sizeof key.bytes);
    return key;
}
