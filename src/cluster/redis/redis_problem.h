/* redis_problem.h -- errors of Redis that make it useless, as sentences that say what to do. */
#ifndef TIDEWIRE_CLUSTER_REDIS_REDIS_PROBLEM_H
#define TIDEWIRE_CLUSTER_REDIS_REDIS_PROBLEM_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

/* Does the text of an error say that the server cannot be used now? Then writes a sentence, which
 * has the text of Redis. An error of one command alone is none. */
bool redis_problem_of(struct slice error, char *sentence, size_t size);

#endif
