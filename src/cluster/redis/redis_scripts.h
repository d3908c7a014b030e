/* redis_scripts.h -- the scripts that Redis runs: the files of src/cluster/scripts, which are part
 * of the binary. Read-only, any thread. */
#ifndef TIDEWIRE_CLUSTER_REDIS_REDIS_SCRIPTS_H
#define TIDEWIRE_CLUSTER_REDIS_REDIS_SCRIPTS_H

#include "cluster/redis/redis.h"

/* The name of its file, "publish" for publish.lua. */
const char *redis_scripts_name(enum redis_script script);
/* Its text; empty when there is no such file. */
struct slice redis_scripts_text(enum redis_script script);

#endif
