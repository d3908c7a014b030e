/* redis_info.c -- what INFO says about a server. See redis_info.h. */
#include "cluster/redis/redis_info.h"

#include <stdio.h>
#include <stdlib.h>

struct slice redis_info_field(struct slice info, const char *field) {
    size_t len = strlen(field);
    while (info.len > 0) {
        const char *end = memchr(info.bytes, '\n', info.len);
        size_t line = end == NULL ? info.len : (size_t)(end - info.bytes);
        if (line > len && info.bytes[len] == ':' && memcmp(info.bytes, field, len) == 0) {
            struct slice value = {info.bytes + len + 1, line - len - 1};
            if (value.len > 0 && value.bytes[value.len - 1] == '\r')
                value.len--;
            return value;
        }
        slice_skip(&info, end == NULL ? info.len : line + 1);
    }
    return (struct slice){"", 0};
}

void redis_info_copy(struct slice info, const char *field, char *out, size_t size) {
    struct slice value = redis_info_field(info, field);
    snprintf(out, size, "%.*s", (int)value.len, value.bytes);
}

void redis_info_server(struct slice info, struct redis_facts *facts) {
    facts->is_valkey = slice_is(redis_info_field(info, "server_name"), "valkey");
    redis_info_copy(info, "run_id", facts->run_id, sizeof facts->run_id);
    redis_info_copy(info, facts->is_valkey ? "valkey_version" : "redis_version", facts->version,
                    sizeof facts->version);
}

bool redis_info_is_old(struct slice info) {
    char version[32]; /* of Redis, which Valkey says too */
    redis_info_copy(info, "redis_version", version, sizeof version);
    return atoi(version) < 7;
}
