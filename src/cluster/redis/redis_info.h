/* redis_info.h -- what INFO says about a server. */
#ifndef TIDEWIRE_CLUSTER_REDIS_REDIS_INFO_H
#define TIDEWIRE_CLUSTER_REDIS_REDIS_INFO_H

#include "cluster/redis/redis.h"

/* The value of a field, "run_id"; empty: it is not there. */
struct slice redis_info_field(struct slice info, const char *field);
/* Reads "INFO server": life, version, kind. */
void redis_info_server(struct slice info, struct redis_facts *facts);
/* Is it too old for sharded pub/sub, 7.0? `info`: "INFO server". */
bool redis_info_is_old(struct slice info);
/* Copies the value of a field as text; a longer one is cut. */
void redis_info_copy(struct slice info, const char *field, char *out, size_t size);

#endif
