/* log_render.h -- from the fields of one event to the bytes of its line.
 *
 * Only for log.c, which collects the fields; the functions here write them in a format.
 * Every format escapes characters that a terminal, a parser or a reader could misunderstand, limits
 * a line and each value, and marks omissions. Owns nothing, any thread. */
#ifndef TIDEWIRE_BASE_LOG_LOG_RENDER_H
#define TIDEWIRE_BASE_LOG_LOG_RENDER_H

#include "base/log/log.h"

#include <time.h>

/* Bytes of a line with its end, and of one value in it, after escaping. */
enum {
    LOG_LINE_MAX = 16 * 1024,
    LOG_VALUE_MAX = 8 * 1024,
    LOG_PEOPLE_MAX = 1024, /* of a value, for people */
    LOG_KEY_MAX = 64,
};

enum log_kind {
    LOG_STRING,
    LOG_WORD,   /* a number, true, false or null: without quotes */
    LOG_CONN,   /* conn.id */
    LOG_FRAMES, /* of a traceback, one a line, innermost first */
    LOG_PATH,   /* for people only: of the connection's endpoint */
    LOG_SOURCE, /* for people only: lines "number\ttext", of which the middle one is marked */
};

struct log_field {
    enum log_kind kind;
    const char *key;
    size_t key_len;
    const char *value;
    size_t len;
    size_t cut; /* bytes of the value that are omitted already */
};

/* The field at *at; moves *at to the next one. False: there is none. */
bool log_next_field(const struct log_line *line, size_t *at, struct log_field *field);
/* The first field of this name. */
bool log_find_field(const struct log_line *line, const char *key, struct log_field *field);
bool log_field_is(const struct log_field *field, const char *key);

/* The line at *at of a field with several lines; moves *at behind it. False: there is none. */
bool log_next_line(const struct log_field *field, size_t *at, struct log_field *line);

/* The bytes of a line under construction. */
struct log_out {
    size_t used;
    bool for_people; /* so quotes need no escape */
    char bytes[LOG_LINE_MAX];
};

/* Adds bytes unchanged, as far as they fit. */
void log_out_add(struct log_out *out, const char *bytes, size_t len);
void log_out_text(struct log_out *out, const char *text);
/* Adds a value, escaped. Omits bytes above the limits and adds a mark with their number. */
void log_out_escaped(struct log_out *out, const struct log_field *field);
/* Is there room for another field with a part of its value, and for the end of the line? */
bool log_out_has_room(const struct log_out *out);

void log_render_text(const struct log_line *line, struct log_out *out);
void log_render_json(const struct log_line *line, struct log_out *out);

/* For people: log_pretty.c. Writes nothing for events that `serving` repeats. */
struct log_pretty {
    bool has_colour;
    bool shows_workers; /* there are several */
    bool shows_all;     /* the level is debug */
};
void log_render_pretty(const struct log_line *line, const struct log_pretty *how,
                       struct log_out *out);

extern const char *const log_level_names[];

#endif
