/* log_pretty.c -- lines of the log for people: the time, the level, the place, and the event as a
 * sentence.
 *
 *     16:25:17.045 info  /chat 000g0003 connected
 *     16:25:18.310 error /chat 000g0003 app.lua:12: attempt to index a nil value  hook=on_start
 *                     11 |   local user = users[message]
 *                   > 12 |   conn:send(user.name)
 *                     13 | end
 *                   at app.lua:12 in greet
 *
 * Leaves out a worker or a generation when there is only one. Escapes as every format does. Indents
 * further lines of an event, so that no value can look like another event. */
#include "base/log/log_render.h"

#include <stdio.h>
#include <string.h>

/* The end of conn.id: 16 bits of the epoch, and the slot. It distinguishes the connections of a
 * worker. */
enum { SHORT_ID = 8 };

static const char *const colours[] = {"\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[1;31m"};
static const char dim[] = "\x1b[2m", bold[] = "\x1b[1m", reset[] = "\x1b[0m";

/* The column in which further lines of an event begin. */
static const char indent[] = "                   ";

struct painter {
    const struct log_line *line;
    const struct log_pretty *how;
    struct log_out *out;
    bool has_dim;         /* the line has fields, in a dim color */
    const char *shown[8]; /* keys of fields in the sentence */
    size_t shown_count;
};

static void paint(struct painter *painter, const char *colour) {
    if (painter->how->has_colour)
        log_out_text(painter->out, colour);
}

static void text(struct painter *painter, const char *words) {
    log_out_text(painter->out, words);
}

static void value(struct painter *painter, const struct log_field *field) {
    log_out_escaped(painter->out, field);
}

/* The value of a field, which the line does not repeat; empty when there is none. */
static void say(struct painter *painter, const char *before, const char *key, const char *after) {
    struct log_field field;
    if (!log_find_field(painter->line, key, &field))
        return;
    painter->shown[painter->shown_count++] = key;
    if (field.len == 0)
        return;
    text(painter, before);
    value(painter, &field);
    text(painter, after);
}

/* ---- the head: time, level, place ---- */

static void add_time(struct painter *painter) {
    struct tm tm;
    char clock[32];
    localtime_r(&painter->line->time.tv_sec, &tm);
    size_t n = strftime(clock, sizeof clock, "%H:%M:%S", &tm);
    snprintf(clock + n, sizeof clock - n, ".%03d ", (int)(painter->line->time.tv_nsec / 1000000));
    paint(painter, dim);
    text(painter, clock);
    paint(painter, reset);
}

static void add_level(struct painter *painter) {
    char level[16];
    snprintf(level, sizeof level, "%-5s", log_level_names[painter->line->level]);
    paint(painter, colours[painter->line->level]);
    text(painter, level);
    paint(painter, reset);
    text(painter, " ");
}

/* The worker, when there are several; the endpoint's path; the connection. */
static void add_place(struct painter *painter) {
    char worker[16];
    if (painter->how->shows_workers && painter->line->worker >= 0) {
        snprintf(worker, sizeof worker, "w%d ", painter->line->worker);
        text(painter, worker);
    }
    struct log_field field;
    for (size_t at = 0; log_next_field(painter->line, &at, &field);) {
        if (field.kind == LOG_PATH) {
            paint(painter, bold);
            value(painter, &field);
            paint(painter, reset);
            text(painter, " ");
        }
    }
    if (log_find_field(painter->line, "conn", &field)) {
        painter->shown[painter->shown_count++] = "conn";
        size_t len = field.len < SHORT_ID ? field.len : SHORT_ID;
        log_out_add(painter->out, field.value + field.len - len, len);
        text(painter, " ");
    }
}

/* ---- the sentence ---- */

/* Text of several lines that no client has written, each below the other. */
static void say_lines(struct painter *painter, const char *key) {
    struct log_field field, line;
    if (!log_find_field(painter->line, key, &field))
        return;
    painter->shown[painter->shown_count++] = key;
    for (size_t at = 0; log_next_line(&field, &at, &line);) {
        if (line.value != field.value) {
            text(painter, "\n");
            text(painter, indent);
        }
        if (line.len > 0 && line.value[0] == '\t') {
            text(painter, "  ");
            line.value++;
            line.len--;
        }
        value(painter, &line);
    }
}

/* A part of an event's sentence: the value of an existing field, between two texts; without `key`
 * the text `before` alone; without `after` the value's lines, each below the other. */
struct part {
    const char *before, *key, *after;
};

enum { MOST_PARTS = 4 };

static const struct {
    const char *event;
    struct part parts[MOST_PARTS];
} sentences[] = {
    {"serving", {{"", "message", ""}}},
    {"script", {{"", "message", ""}}},
    {"opened", {{.before = "connected"}}},
    {"closed", {{"closed by the ", "by", ""}, {", ", "code", ""}, {" ", "why", ""}}},
    {"refused", {{"", "status", " "}, {"", "method", " "}, {"", "path", ": "}, {"", "why", ""}}},
    {"rate_limited", {{"above its rate: ", "why", ""}}},
    {"request", {{"", "method", " "}, {"", "path", " "}, {"", "status", ""}}},
    {"script_error", {{"", "why", ""}}},
    {"worker_blocked", {{"", "why", ""}}},
    {"configuration", {{"", "why", ""}}},
    {"start_failed", {{.key = "why"}}},
    {"reload_failed", {{.before = "reload failed, the old code goes on: "}, {.key = "why"}}},
    {"reloaded",
     {{"reloaded: generation ", "generation", " runs"},
      {"; connections closed: ", "closed", ""},
      {" (", "why", ")"}}},
    {"state_taken", {{"the state of the last run was taken from ", "file", ""}}},
    {"state_written", {{"the state is in ", "file", ""}}},
    {"state_passed", {{.before = "the next process has got the state"}}},
    {"state_lost", {{"", "why", ""}}},
    {"state_bad", {{"the state file cannot be used: ", "why", ""}}},
    {"state_failed", {{"", "why", ""}}},
    {"left_out", {{"left out of the state: ", "names", ""}, {" (", "why", ")"}}},
    {"saved", {{"saved ", "file", ""}}},
    {"listening", {{"", "for", " "}, {"address ", "address", ""}}},
    {"cluster_up",
     {{"connected to ", "kind", " "}, {"", "version", " of the cluster: "}, {"", "server", ""}}},
    {"cluster_down", {{"without the other machines: ", "server", " is away: "}, {.key = "why"}}},
    {"cluster_retry", {{"", "server", " is still away: "}, {.key = "why"}}},
    {"cluster_node_joined", {{"another machine is in the cluster: ", "node", ""}}},
    {"cluster_node_left", {{"a machine has left the cluster: ", "node", ""}}},
    {"cluster_lost",
     {{"", "messages", " messages of another machine are lost: "}, {"", "why", ""}}},
    {"cluster_behind", {{"", "lost", " messages do not reach other machines: "}, {"", "why", ""}}},
    {"log_dropped", {{"", "lines", " lines of the log were dropped: "}, {"", "why", ""}}},
    {"output_dropped", {{"", "lines", " printed lines were dropped: "}, {"", "why", ""}}},
    {"log_suppressed", {{"", "lines", " more "}, {"of \"", "of", "\" within a second"}}},
};

static void say_part(struct painter *painter, const struct part *part) {
    if (part->key != NULL && part->after == NULL)
        say_lines(painter, part->key);
    else if (part->key != NULL)
        say(painter, part->before, part->key, part->after);
    else if (part->before != NULL)
        text(painter, part->before);
}

/* An event without a sentence of its own: its name and why. */
static void say_event(struct painter *painter) {
    char name[32];
    size_t len = 0;
    for (const char *p = painter->line->event; *p != '\0' && len < sizeof name - 1; p++)
        name[len++] = *p == '_' ? ' ' : *p;
    log_out_add(painter->out, name, len);
    say(painter, ": ", "why", "");
}

static void say_what(struct painter *painter) {
    for (size_t i = 0; i < sizeof sentences / sizeof sentences[0]; i++) {
        if (strcmp(sentences[i].event, painter->line->event) != 0)
            continue;
        for (int part = 0; part < MOST_PARTS; part++)
            say_part(painter, &sentences[i].parts[part]);
        return;
    }
    say_event(painter);
}

/* ---- the other fields ---- */

static bool is_shown(const struct painter *painter, const struct log_field *field) {
    for (size_t i = 0; i < painter->shown_count; i++)
        if (log_field_is(field, painter->shown[i]))
            return true;
    bool first_code =
        log_field_is(field, "generation") && field->len == 1 && field->value[0] == '1';
    return first_code || field->kind == LOG_PATH || field->kind == LOG_SOURCE ||
           field->kind == LOG_FRAMES;
}

static bool needs_quotes(const struct log_field *field) {
    return field->len == 0 || memchr(field->value, ' ', field->len) != NULL;
}

static void add_fields(struct painter *painter) {
    struct log_field field;
    for (size_t at = 0; log_next_field(painter->line, &at, &field);) {
        if (is_shown(painter, &field) || !log_out_has_room(painter->out))
            continue;
        if (!painter->has_dim)
            paint(painter, dim);
        text(painter, painter->has_dim ? " " : "  ");
        painter->has_dim = true;
        log_out_add(painter->out, field.key, field.key_len);
        text(painter, "=");
        text(painter, needs_quotes(&field) ? "\"" : "");
        value(painter, &field);
        text(painter, needs_quotes(&field) ? "\"" : "");
    }
    if (painter->has_dim)
        paint(painter, reset);
}

static void add_source(struct painter *painter, const struct log_field *field) {
    struct log_field line;
    for (size_t at = 0; log_next_line(field, &at, &line) && log_out_has_room(painter->out);) {
        const char *tab = memchr(line.value, '\t', line.len);
        if (tab == NULL)
            continue;
        size_t digits = (size_t)(tab - line.value);
        bool meant = digits == field->key_len && memcmp(line.value, field->key, digits) == 0;
        char margin[32];
        snprintf(margin, sizeof margin, "\n%s%s %5.*s | ", indent, meant ? ">" : " ", (int)digits,
                 line.value);
        paint(painter, meant ? bold : dim);
        text(painter, margin);
        line.value = tab + 1;
        line.len -= digits + 1;
        for (; line.len > 0 && *line.value == '\t'; line.value++, line.len--)
            text(painter, "    ");
        value(painter, &line);
        paint(painter, reset);
    }
}

static void add_frames(struct painter *painter, const struct log_field *field) {
    struct log_field frame;
    paint(painter, dim);
    for (size_t at = 0; log_next_line(field, &at, &frame) && log_out_has_room(painter->out);) {
        text(painter, "\n");
        text(painter, indent);
        text(painter, "at ");
        value(painter, &frame);
    }
    paint(painter, reset);
}

static void add_places_of_error(struct painter *painter) {
    struct log_field field;
    bool has_source = false;
    for (size_t at = 0; log_next_field(painter->line, &at, &field);) {
        if (field.kind == LOG_SOURCE)
            add_source(painter, &field);
        has_source = has_source || field.kind == LOG_SOURCE;
    }
    for (size_t at = 0; log_next_field(painter->line, &at, &field);) {
        bool is_one = memchr(field.value, '\n', field.len) == NULL; /* the source has shown it */
        if (field.kind == LOG_FRAMES && !(has_source && is_one))
            add_frames(painter, &field);
    }
}

/* `serving` has it in one line. */
static bool is_needless(const struct painter *painter) {
    const char *event = painter->line->event;
    return !painter->how->shows_all &&
           (strcmp(event, "ready") == 0 || strcmp(event, "listening") == 0);
}

void log_render_pretty(const struct log_line *line, const struct log_pretty *how,
                       struct log_out *out) {
    struct painter painter = {.line = line, .how = how, .out = out};
    if (is_needless(&painter))
        return;
    add_time(&painter);
    add_level(&painter);
    add_place(&painter);
    say_what(&painter);
    add_fields(&painter);
    add_places_of_error(&painter);
    out->bytes[out->used++] = '\n';
}
