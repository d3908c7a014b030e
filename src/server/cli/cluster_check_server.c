/* cluster_check_server.c -- the check of one Redis server. See cluster_check_parts.h.
 *
 * Does what a node does: connects, authenticates, loads the scripts, subscribes, publishes. A
 * command that the user may not call is found by Redis itself (redis.acl_check_cmd). */
#include "base/clock.h"
#include "base/siphash.h"
#include "cluster/redis/redis_info.h"
#include "cluster/redis/redis_problem.h"
#include "cluster/redis/redis_scripts.h"
#include "server/cli/cluster_check_parts.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

enum { SAMPLES = 100, FAR_MS = 5, SLOW_MS = 50, SHA_LEN = 40, NAME_BYTES = 24, NAMES_MAX = 64 };

/* The commands of src/cluster, beside those of its scripts. */
static const char *const commands[] = {"SET", "GET", "PEXPIRE", "PUBSUB SHARDNUMSUB"};

/* Says what an error is, and what to do. */
static void add_error(struct cluster_report *report, const char *what,
                      const struct cluster_answer *answer) {
    char sentence[512];
    const char *text = buffer_start(&answer->text);
    if (answer->lost || !redis_problem_of(slice_of(text), sentence, sizeof sentence))
        snprintf(sentence, sizeof sentence, "%.400s", text);
    cluster_report_add(report, CLUSTER_PROBLEM, "%s: %s", what, sentence);
}

/* ---- latencies ---- */

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void add_latency(struct cluster_report *report, const char *what, double *ms) {
    struct cluster_latency *latency = &report->latencies[report->latency_count++];
    qsort(ms, SAMPLES, sizeof *ms, compare);
    *latency = (struct cluster_latency){what, ms[SAMPLES / 2], ms[SAMPLES * 99 / 100]};
    bool is_slow = latency->median_ms > FAR_MS || latency->p99_ms > SLOW_MS;
    cluster_report_add(report, is_slow ? CLUSTER_WARNING : CLUSTER_GOOD,
                       "%s: %.3f ms, %.3f ms for the slowest of a hundred%s", what,
                       latency->median_ms, latency->p99_ms,
                       is_slow ? ": put Redis nearer, or see its SLOWLOG and LATENCY DOCTOR" : "");
}

static double since_ms(uint64_t began_ns) {
    return (double)(clock_monotonic_ns() - began_ns) / 1e6;
}

static void measure_ping(struct cluster_report *report, struct cluster_ask *ask) {
    double ms[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) {
        uint64_t began = clock_monotonic_ns();
        const struct cluster_answer *answer = cluster_ask(ask, "PING", NULL);
        if (answer->is_error) {
            add_error(report, "PING", answer);
            return;
        }
        ms[i] = since_ms(began);
    }
    add_latency(report, "PING", ms);
}

static void measure_publish(struct cluster_report *report, struct cluster_ask *ask) {
    double ms[SAMPLES];
    char channel[128], why[512];
    uint64_t random[2];
    siphash_draw_key(random);
    snprintf(channel, sizeof channel, "%s:{0}:c:check-%08x", report->prefix, (unsigned)random[0]);
    struct cluster_ask *subscriber = cluster_ask_open(&report->url, why, sizeof why);
    if (subscriber == NULL) {
        cluster_report_add(report, CLUSTER_PROBLEM, "a second connection: %s", why);
        return;
    }
    const struct cluster_answer *answer = cluster_ask_subscribe(subscriber, channel);
    if (answer->is_error) {
        add_error(report, "SSUBSCRIBE", answer);
    } else {
        int i = 0;
        for (; i < SAMPLES; i++) {
            uint64_t began = clock_monotonic_ns();
            if (!cluster_ask_publish(ask, subscriber, channel))
                break;
            ms[i] = since_ms(began);
        }
        if (i == SAMPLES)
            add_latency(report, "SPUBLISH until a subscriber has it", ms);
        else
            add_error(report, "SPUBLISH", cluster_ask(ask, "SPUBLISH", channel, "check", NULL));
    }
    cluster_ask_close(subscriber);
}

/* ---- rights ---- */

/* "XADD" of the beginning of `"XADD", …`; "XINFO STREAM" of a command that has others below it. */
static void take_name(struct slice text, char name[NAME_BYTES]) {
    size_t len = 0, words = 1;
    name[0] = '\0';
    for (size_t i = 1; i < text.len && len < NAME_BYTES - 1; i++) {
        char c = text.bytes[i];
        if (isalpha((unsigned char)c)) {
            name[len++] = (char)toupper((unsigned char)c);
            name[len] = '\0';
            continue;
        }
        bool has_more = strcmp(name, "XINFO") == 0 || strcmp(name, "XGROUP") == 0;
        if (words++ > 1 || !has_more || i + 4 > text.len ||
            memcmp(text.bytes + i, "\", \"", 4) != 0)
            return;
        name[len++] = ' ';
        i += 3;
    }
}

/* "XADD" of each redis.call("XADD", …), and those above; each name once. */
static unsigned gather_commands(char names[][NAME_BYTES]) {
    unsigned count = 0;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        snprintf(names[count++], NAME_BYTES, "%s", commands[i]);
    for (int script = 0; script < REDIS_SCRIPTS; script++) {
        struct slice text = redis_scripts_text((enum redis_script)script);
        static const char call[] = "call(";
        for (const char *at; count < NAMES_MAX &&
                             (at = memmem(text.bytes, text.len, call, sizeof call - 1)) != NULL;) {
            slice_skip(&text, (size_t)(at - text.bytes) + sizeof call - 1);
            char name[NAME_BYTES];
            if (text.len == 0 || (text.bytes[0] != '"' && text.bytes[0] != '\''))
                continue;
            take_name(text, name);
            bool is_new = name[0] != '\0';
            for (unsigned i = 0; i < count && is_new; i++)
                is_new = strcmp(names[i], name) != 0;
            if (is_new)
                memcpy(names[count++], name, sizeof name);
        }
    }
    return count;
}

/* Which of the commands may the user not call? */
static void check_rights(struct cluster_report *report, struct cluster_ask *ask) {
    /* A command that Redis does not know is a fault as well. Redis 8 does not know one with a
     * number of arguments that it does not take, so several numbers are tried. */
    static const char script[] =
        "local denied = {} "
        "for _, name in ipairs(ARGV) do "
        "  local first, second = name:match('^(%a+) ?(%a*)$') "
        "  local known, allowed "
        "  for count = 8, 0, -1 do "
        "    local words = {first} "
        "    if second ~= '' then words[2] = second end "
        "    for _ = 1, count do words[#words + 1] = KEYS[1] end "
        "    known, allowed = pcall(redis.acl_check_cmd, unpack(words)) "
        "    if known then break end "
        "  end "
        "  local right = '+' .. name:lower():gsub(' ', '|') "
        "  if not (known and allowed) then table.insert(denied, right) end "
        "end "
        "return table.concat(denied, ' ')";
    char names[NAMES_MAX][NAME_BYTES], key[64];
    struct slice argv[NAMES_MAX + 4];
    unsigned count = gather_commands(names);
    snprintf(key, sizeof key, "%s:{0}:check", report->prefix);
    const struct cluster_answer *answer = cluster_ask(ask, "SCRIPT", "LOAD", script, NULL);
    if (answer->is_error || answer->text.len != SHA_LEN) {
        add_error(report, "SCRIPT LOAD", answer);
        return;
    }
    char sha[SHA_LEN + 1];
    memcpy(sha, buffer_start(&answer->text), sizeof sha);
    argv[0] = slice_of("EVALSHA");
    argv[1] = slice_of(sha);
    argv[2] = slice_of("1");
    argv[3] = slice_of(key);
    for (unsigned i = 0; i < count; i++)
        argv[4 + i] = slice_of(names[i]);
    answer = cluster_ask_command(ask, 4 + count, argv);
    if (answer->is_error)
        add_error(report, "EVALSHA", answer);
    else if (answer->text.len > 0)
        cluster_report_add(
            report, CLUSTER_PROBLEM, "the user may not call some commands: ACL SETUSER %s %s",
            report->url.user == NULL ? "default" : report->url.user, buffer_start(&answer->text));
    else
        cluster_report_add(report, CLUSTER_GOOD, "the user may call all %u commands", count);
}

/* Is it allowed, and does it work? */
static bool try(struct cluster_report *report, const char *what,
                const struct cluster_answer *answer) {
    if (answer->is_error)
        add_error(report, what, answer);
    return !answer->is_error;
}

static void load_scripts(struct cluster_report *report, struct cluster_ask *ask) {
    unsigned count = 0;
    for (int i = 0; i < REDIS_SCRIPTS; i++) {
        enum redis_script script = (enum redis_script)i;
        struct slice argv[] = {slice_of("SCRIPT"), slice_of("LOAD"), redis_scripts_text(script)};
        char what[64];
        snprintf(what, sizeof what, "the script %s", redis_scripts_name(script));
        if (argv[2].len > 0)
            count += try(report, what, cluster_ask_command(ask, 3, argv));
    }
    cluster_report_add(report, CLUSTER_GOOD, "%u scripts are loaded", count);
}

/* ---- all ---- */

static void read_facts(struct cluster_report *report, const struct cluster_answer *answer) {
    struct slice info = {buffer_start(&answer->text), answer->text.len};
    redis_info_server(info, &report->facts);
    if (redis_info_is_old(info))
        cluster_report_add(report, CLUSTER_PROBLEM,
                           "it is version %s: Redis or Valkey 7.0 or later is needed",
                           report->facts.version);
    else
        cluster_report_add(report, CLUSTER_GOOD, "%s %s",
                           report->facts.is_valkey ? "Valkey" : "Redis", report->facts.version);
}

void cluster_check_server(struct cluster_report *report) {
    char why[512], key[128];
    struct cluster_ask *ask = cluster_ask_open(&report->url, why, sizeof why);
    if (ask == NULL) {
        cluster_report_add(report, CLUSTER_PROBLEM, "%s", why);
        return;
    }
    snprintf(key, sizeof key, "%s:probe", report->prefix);
    const struct cluster_answer *answer = cluster_ask(ask, "INFO", "server", NULL);
    if (try(report, "INFO", answer))
        read_facts(report, answer);
    cluster_check_settings(report, ask);
    try(report, "TIME", cluster_ask(ask, "TIME", NULL));
    try(report, "SET", cluster_ask(ask, "SET", key, "", "PX", "1000", NULL));
    load_scripts(report, ask);
    check_rights(report, ask);
    measure_ping(report, ask);
    measure_publish(report, ask);
    cluster_ask_close(ask);
}
