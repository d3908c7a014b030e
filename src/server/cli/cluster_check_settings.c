/* cluster_check_settings.c -- judges the settings of a Redis server. See cluster_check_parts.h. */
#include "cluster/redis/redis_info.h"
#include "server/cli/cluster_check_parts.h"

#include <stdio.h>
#include <stdlib.h>

static const unsigned long long MIB = 1024 * 1024;

static struct slice text_of(const struct cluster_answer *answer) {
    return (struct slice){buffer_start(&answer->text), answer->text.len};
}

static unsigned long long number_of(struct slice info, const char *field) {
    char text[32];
    redis_info_copy(info, field, text, sizeof text);
    return strtoull(text, NULL, 10);
}

static bool is_field(struct slice info, const char *field, const char *value) {
    return slice_is(redis_info_field(info, field), value);
}

/* ---- INFO ---- */

static void check_replication(struct cluster_report *report, struct slice info) {
    redis_info_copy(info, "role", report->role, sizeof report->role);
    if (!is_field(info, "role", "master")) {
        struct slice host = redis_info_field(info, "master_host");
        struct slice port = redis_info_field(info, "master_port");
        cluster_report_add(report, CLUSTER_PROBLEM,
                           "it is a replica of %.*s:%.*s: name the master in the URL",
                           (int)host.len, host.bytes, (int)port.len, port.bytes);
        return;
    }
    unsigned long long replicas = number_of(info, "connected_slaves");
    cluster_report_add(report, CLUSTER_GOOD, "a master, with %llu replica%s", replicas,
                       replicas == 1 ? "" : "s");
}

static void check_policy(struct cluster_report *report, const char *policy) {
    if (strncmp(policy, "allkeys", 7) == 0)
        cluster_report_add(report, CLUSTER_PROBLEM,
                           "maxmemory-policy %s: Redis removes members, sessions and leases when "
                           "its memory is full; set noeviction",
                           policy);
    else if (strncmp(policy, "volatile", 8) == 0)
        cluster_report_add(report, CLUSTER_WARNING,
                           "maxmemory-policy %s: rooms lose their memory when Redis' memory is "
                           "full; set noeviction",
                           policy);
}

static void check_memory(struct cluster_report *report, struct slice info) {
    char policy[32];
    unsigned long long used = number_of(info, "used_memory"), max = number_of(info, "maxmemory");
    redis_info_copy(info, "maxmemory_policy", policy, sizeof policy);
    if (max == 0)
        cluster_report_add(report, CLUSTER_WARNING,
                           "maxmemory is not set: Redis grows until the system ends it; set it to "
                           "some three quarters of the memory");
    else if (used >= max / 10 * 9)
        cluster_report_add(report, CLUSTER_PROBLEM,
                           "its memory is nearly full: %llu of %llu MiB; raise maxmemory",
                           used / MIB, max / MIB);
    else
        cluster_report_add(report, CLUSTER_GOOD, "memory: %llu of %llu MiB, %s", used / MIB,
                           max / MIB, policy);
    check_policy(report, policy);
}

static void check_persistence(struct cluster_report *report, struct slice info) {
    if (is_field(info, "loading", "1"))
        cluster_report_add(report, CLUSTER_PROBLEM,
                           "it is loading its data: wait until it has "
                           "finished");
    if (is_field(info, "rdb_last_bgsave_status", "err") ||
        is_field(info, "aof_last_write_status", "err"))
        cluster_report_add(report, CLUSTER_PROBLEM,
                           "it cannot save its data, and may refuse writes: its log says why");
    if (is_field(info, "aof_enabled", "0"))
        cluster_report_add(report, CLUSTER_NOTE,
                           "appendonly is off: a restart of Redis loses what rooms remember since "
                           "the last snapshot, and values of tw.shared");
}

static void check_clients(struct cluster_report *report, struct slice info) {
    unsigned long long now = number_of(info, "connected_clients");
    unsigned long long max = number_of(info, "maxclients");
    if (max > 0 && now >= max / 10 * 9)
        cluster_report_add(report, CLUSTER_WARNING, "%llu of %llu clients: raise maxclients", now,
                           max);
}

static void check_stats(struct cluster_report *report, struct slice info) {
    unsigned long long evicted = number_of(info, "evicted_keys");
    if (evicted > 0)
        cluster_report_add(report, CLUSTER_WARNING,
                           "it has removed %llu keys because its memory was full: raise maxmemory",
                           evicted);
}

static void check_cluster(struct cluster_report *report, struct slice info) {
    if (is_field(info, "cluster_enabled", "1"))
        cluster_report_add(report, CLUSTER_PROBLEM,
                           "it is one server of a Redis Cluster: use servers with cluster-enabled "
                           "no, and name each of them");
}

/* ---- CONFIG ---- */

/* The limits of one class of client-output-buffer-limit, "normal 0 0 0 slave … pubsub …". */
struct output_limit {
    unsigned long long hard, soft, seconds;
};

static bool read_output_limit(const char *text, const char *class, struct output_limit *out) {
    const char *at = strstr(text, class);
    return at != NULL && sscanf(at + strlen(class), " %llu %llu %llu", &out->hard, &out->soft,
                                &out->seconds) == 3;
}

static void check_output_limits(struct cluster_report *report, const char *text) {
    struct output_limit limit;
    if (read_output_limit(text, "pubsub", &limit)) {
        bool is_small =
            (limit.hard > 0 && limit.hard < 32 * MIB) || (limit.soft > 0 && limit.soft < 8 * MIB);
        if (is_small)
            cluster_report_add(report, CLUSTER_WARNING,
                               "client-output-buffer-limit pubsub %llu %llu %llu: Redis cuts a "
                               "machine off that is a moment late; set 32mb 8mb 60 or more",
                               limit.hard, limit.soft, limit.seconds);
        else if (limit.hard == 0)
            cluster_report_add(report, CLUSTER_WARNING,
                               "client-output-buffer-limit pubsub has no limit: a machine that "
                               "does not read can fill Redis' memory; set 256mb 64mb 60");
        else
            cluster_report_add(report, CLUSTER_GOOD,
                               "client-output-buffer-limit pubsub: %llu MiB, or %llu MiB for %llu "
                               "s",
                               limit.hard / MIB, limit.soft / MIB, limit.seconds);
    }
    if (read_output_limit(text, "normal", &limit) && limit.hard > 0 && limit.hard < 64 * MIB)
        cluster_report_add(report, CLUSTER_WARNING,
                           "client-output-buffer-limit normal %llu: the memory of a large room is "
                           "more; set 0 0 0",
                           limit.hard);
}

/* The value of a setting; NULL: Redis does not say. Valid until the next question. */
static const char *config(struct cluster_ask *ask, const char *name) {
    const struct cluster_answer *answer = cluster_ask(ask, "CONFIG", "GET", name, NULL);
    const char *end = answer->is_error ? NULL : strchr(buffer_start(&answer->text), '\n');
    return end == NULL ? NULL : end + 1;
}

static void check_config(struct cluster_report *report, struct cluster_ask *ask) {
    const char *value = config(ask, "client-output-buffer-limit");
    if (value == NULL) {
        cluster_report_add(report, CLUSTER_NOTE,
                           "the user may not call CONFIG GET, which a cluster does not need: "
                           "client-output-buffer-limit and timeout were not looked at");
        return;
    }
    check_output_limits(report, value);
    value = config(ask, "timeout");
    if (value != NULL && atoi(value) > 0 && atoi(value) < 5)
        cluster_report_add(report, CLUSTER_WARNING,
                           "timeout %d: Redis ends connections that are silent for a moment; set 0",
                           atoi(value));
}

void cluster_check_settings(struct cluster_report *report, struct cluster_ask *ask) {
    static const struct {
        const char *section;
        void (*check)(struct cluster_report *report, struct slice info);
    } sections[] = {
        {"replication", check_replication},
        {"memory", check_memory},
        {"persistence", check_persistence},
        {"clients", check_clients},
        {"stats", check_stats},
        {"cluster", check_cluster},
    };
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        const struct cluster_answer *answer = cluster_ask(ask, "INFO", sections[i].section, NULL);
        if (!answer->is_error)
            sections[i].check(report, text_of(answer));
    }
    check_config(report, ask);
}
