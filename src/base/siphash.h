/* siphash.h -- a hash with a secret key: SipHash with 1 and 3 rounds (Aumasson and Bernstein,
 * 2012).
 *
 * Clients choose names: rooms, keys of stores, secrets of sessions. Without a key they could choose
 * names of one hash, and each look-up would compare them all. Any thread. */
#ifndef TIDEWIRE_BASE_SIPHASH_H
#define TIDEWIRE_BASE_SIPHASH_H

#include "base/clock.h"
#include "base/slice.h"

#include <stdint.h>
#include <string.h>
#include <sys/random.h>

static inline uint64_t siphash_turned(uint64_t x, int bits) {
    return x << bits | x >> (64 - bits);
}

static inline void siphash_mix(uint64_t v[4]) {
    v[0] += v[1], v[1] = siphash_turned(v[1], 13) ^ v[0], v[0] = siphash_turned(v[0], 32);
    v[2] += v[3], v[3] = siphash_turned(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = siphash_turned(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = siphash_turned(v[1], 17) ^ v[2], v[2] = siphash_turned(v[2], 32);
}

static inline uint64_t siphash(const uint64_t key[2], struct slice bytes) {
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                     key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
    for (size_t at = 0;; at += 8) {
        size_t left = bytes.len - at;
        uint64_t word = (uint64_t)bytes.len << 56;
        if (left > 0)
            memcpy(&word, bytes.bytes + at, left < 8 ? left : 8);
        v[3] ^= word;
        siphash_mix(v);
        v[0] ^= word;
        if (left < 8)
            break;
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        siphash_mix(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static inline void siphash_draw_key(uint64_t key[2]) {
    if (getrandom(key, 2 * sizeof *key, 0) == 2 * sizeof *key)
        return;
    key[0] = clock_monotonic_ns(); /* better than no key */
    key[1] = (uint64_t)(uintptr_t)key;
}

#endif
