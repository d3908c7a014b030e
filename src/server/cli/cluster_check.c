/* cluster_check.c -- `tidewire cluster check URL…`. See cluster_check.h. */
#include "server/cli/cluster_check.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "cluster/redis/redis_servers.h"
#include "server/cli/cluster_check_parts.h"
#include "server/server.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void cluster_report_add(struct cluster_report *report, enum cluster_level level, const char *format,
                        ...) {
    char text[1024], mark = (char)level;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    buffer_add(&report->findings, &mark, 1);
    buffer_add(&report->findings, text, strlen(text) + 1);
    report->has_problem |= level == CLUSTER_PROBLEM;
}

/* The next finding. False: there is none. */
static bool next_finding(const struct cluster_report *report, size_t *at, enum cluster_level *level,
                         const char **text) {
    if (*at >= report->findings.len)
        return false;
    const char *finding = buffer_start(&report->findings) + *at;
    *level = (enum cluster_level)finding[0];
    *text = finding + 1;
    *at += strlen(*text) + 2;
    return true;
}

/* ---- for people ---- */

/* Redis' own texts are shown, so what could control a terminal is not. */
static void print_safe(const char *text) {
    for (; *text != '\0'; text++)
        putchar((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text);
}

static void print_text(const struct cluster_report *report) {
    static const char *const marks[] = {"ok       ", "note     ", "warning  ", "PROBLEM  "};
    enum cluster_level level;
    const char *text;
    printf("%s\n", report->url.name);
    for (size_t at = 0; next_finding(report, &at, &level, &text);) {
        printf("  %s", marks[level]);
        print_safe(text);
        putchar('\n');
    }
}

/* ---- JSON ---- */

static void print_string(const char *text) {
    bool is_utf8 = utf8_valid(text, strlen(text));
    putchar('"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < ' ' || c == 0x7f)
            printf("\\u%04x", c);
        else
            putchar(c < 0x80 || is_utf8 ? c : '?');
    }
    putchar('"');
}

static void print_member(const char *name, const char *value) {
    printf("\"%s\":", name);
    print_string(value);
    putchar(',');
}

static void print_findings(const struct cluster_report *report, const char *name,
                           enum cluster_level wanted) {
    enum cluster_level level;
    const char *text, *comma = "";
    printf("\"%s\":[", name);
    for (size_t at = 0; next_finding(report, &at, &level, &text);)
        if (level == wanted) {
            fputs(comma, stdout);
            print_string(text);
            comma = ",";
        }
    putchar(']');
}

static void print_json(const struct cluster_report *report) {
    putchar('{');
    print_member("url", report->url.name);
    printf("\"ok\":%s,", report->has_problem ? "false" : "true");
    if (report->facts.version[0] != '\0') {
        print_member("kind", report->facts.is_valkey ? "valkey" : "redis");
        print_member("version", report->facts.version);
        print_member("run_id", report->facts.run_id);
    }
    if (report->role[0] != '\0')
        print_member("role", report->role);
    printf("\"latencies\":[");
    for (unsigned i = 0; i < report->latency_count; i++) {
        const struct cluster_latency *latency = &report->latencies[i];
        printf("%s{", i > 0 ? "," : "");
        print_member("what", latency->what);
        printf("\"median_ms\":%.3f,\"p99_ms\":%.3f}", latency->median_ms, latency->p99_ms);
    }
    printf("],");
    print_findings(report, "problems", CLUSTER_PROBLEM);
    putchar(',');
    print_findings(report, "warnings", CLUSTER_WARNING);
    putchar(',');
    print_findings(report, "notes", CLUSTER_NOTE);
    putchar('}');
}

/* ---- the command ---- */

/* The same server by two addresses would have each partition's work twice. */
static void check_together(struct cluster_report *reports, size_t count) {
    for (size_t i = 1; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (reports[i].facts.run_id[0] != '\0' &&
                strcmp(reports[i].facts.run_id, reports[j].facts.run_id) == 0)
                cluster_report_add(&reports[i], CLUSTER_PROBLEM, "it is the same server as %s",
                                   reports[j].url.name);
}

static bool parse_urls(const struct settings *settings, struct cluster_report *reports) {
    char why[512];
    const struct error_text error = {why, sizeof why};
    bool good = true;
    for (size_t i = 0; i < settings->urls.count; i++) {
        reports[i].prefix = settings->prefix == NULL ? "tw" : settings->prefix;
        if (redis_url_parse(settings->urls.texts[i], &reports[i].url, &error))
            continue;
        fprintf(stderr, "tidewire: cluster check: URL %zu: %s\n", i + 1, why);
        good = false;
    }
    return good;
}

static bool report_all(const struct settings *settings, struct cluster_report *reports) {
    size_t count = settings->urls.count;
    bool good = true;
    for (size_t i = 0; i < count; i++)
        cluster_check_server(&reports[i]);
    check_together(reports, count);
    for (size_t i = 0; i < count; i++)
        good = good && !reports[i].has_problem;
    if (settings->json)
        printf("{\"ok\":%s,\"servers\":[", good ? "true" : "false");
    for (size_t i = 0; i < count; i++) {
        if (settings->json && i > 0)
            putchar(',');
        if (settings->json)
            print_json(&reports[i]);
        else
            print_text(&reports[i]);
    }
    if (settings->json)
        puts("]}");
    else
        puts(good ? "no problem was found" : "there are problems: the cluster does not work so");
    return good;
}

int cluster_check_run(const struct settings *settings) {
    size_t count = settings->urls.count;
    struct cluster_report *reports = mem_zalloc(count * sizeof *reports);
    int code = EXIT_USAGE;
    signal(SIGPIPE, SIG_IGN);
    if (count > REDIS_SERVERS_MAX)
        fprintf(stderr, "tidewire: cluster check: %zu URLs; there are %d at most\n", count,
                REDIS_SERVERS_MAX);
    else if (parse_urls(settings, reports))
        code = report_all(settings, reports) ? EXIT_CLEAN : EXIT_FAILED;
    for (size_t i = 0; i < count; i++) {
        redis_url_close(&reports[i].url);
        buffer_free(&reports[i].findings);
    }
    mem_free(reports);
    return code;
}
