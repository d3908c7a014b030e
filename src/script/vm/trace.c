/* trace.c -- the place of a script's error, in a line of the log. See trace.h. */
#include "script/vm/trace.h"

#include "base/slice.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Most frames in a line of the log, and bytes of each; lines of source before and after the place,
 * and bytes of each. */
enum { MOST_FRAMES = 12, FRAME_BYTES = 300, AROUND = 1, SOURCE_BYTES = 200 };

/* A place in a script. */
struct place {
    char file[256];
    unsigned long line;
};

/* Reads "file:line:" at the begin of a line. Returns the rest of the line; NULL: there is no place.
 */
static const char *read_place(struct slice text, struct place *place) {
    const char *end = text.bytes + text.len, *colon = text.bytes;
    do { /* a file's name may have colons, too */
        colon = memchr(colon + 1, ':', (size_t)(end - colon - 1));
        if (colon == NULL || colon - text.bytes >= (ptrdiff_t)sizeof place->file)
            return NULL;
        char *behind;
        place->line = colon + 1 < end ? strtoul(colon + 1, &behind, 10) : 0;
        if (place->line > 0 && behind < end && *behind == ':') {
            size_t len = (size_t)(colon - text.bytes);
            memcpy(place->file, text.bytes, len);
            place->file[len] = '\0';
            return behind + 1;
        }
    } while (colon + 1 < end);
    return NULL;
}

static bool is_in_script(const struct place *place) {
    return strncmp(place->file, "lua/tidewire/", 13) != 0 && place->file[0] != '[';
}

/* The function's name in the rest of a frame, " in upvalue 'greet'"; or "main chunk", or nothing.
 */
static struct slice function_of(const char *text, const char *end) {
    static const struct slice main_chunk = {"main chunk", 10};
    const char *quote = memchr(text, '\'', (size_t)(end - text));
    const char *last = quote == NULL ? NULL : memchr(quote + 1, '\'', (size_t)(end - quote - 1));
    if (last != NULL)
        return (struct slice){quote + 1, (size_t)(last - quote - 1)};
    bool is_main = memmem(text, (size_t)(end - text), main_chunk.bytes, main_chunk.len) != NULL;
    return is_main ? main_chunk : (struct slice){0};
}

/* Takes a line off the begin of the text. False: there is none. */
static bool next_line(const char **text, struct slice *line) {
    if (**text == '\0')
        return false;
    *line = (struct slice){*text, strcspn(*text, "\n")};
    *text += line->len;
    if (**text == '\n')
        ++*text;
    return true;
}

/* ---- frames ---- */

/* Adds the script's frames of a traceback. Returns their number; `first` is the innermost one. */
static unsigned add_frames(struct log_line *line, const char *traceback, struct place *first) {
    char frames[MOST_FRAMES * FRAME_BYTES];
    size_t used = 0;
    unsigned count = 0;
    struct slice text;
    while (count < MOST_FRAMES && next_line(&traceback, &text)) {
        struct place place;
        if (text.len == 0 || text.bytes[0] != '\t')
            continue;
        struct slice frame = {text.bytes + 1, text.len - 1};
        const char *behind = read_place(frame, &place);
        if (behind == NULL || !is_in_script(&place))
            continue;
        struct slice function = function_of(behind, text.bytes + text.len);
        int len = snprintf(frames + used, FRAME_BYTES, "%s%s:%lu%s%.*s", count == 0 ? "" : "\n",
                           place.file, place.line, function.len == 0 ? "" : " in ",
                           (int)function.len, function.len == 0 ? "" : function.bytes);
        used += len < FRAME_BYTES ? (size_t)len : FRAME_BYTES - 1;
        if (count++ == 0)
            *first = place;
    }
    if (count > 0)
        log_frames(line, "traceback", frames, used);
    return count;
}

/* ---- source ---- */

/* Finds the whole name of a file that Lua has shortened to its end, "...der/app.lua". */
static void find_whole_name(const char *sources, const char *shown, char *name, size_t size) {
    struct slice source;
    snprintf(name, size, "%s", shown);
    size_t len = strlen(shown) - 3;
    while (sources != NULL && next_line(&sources, &source)) {
        if (source.len < size && source.len >= len &&
            memcmp(source.bytes + source.len - len, shown + 3, len) == 0)
            snprintf(name, size, "%.*s", (int)source.len, source.bytes);
    }
}

static FILE *open_source(const char *name) {
    struct stat info;
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0 && (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))) {
        close(fd);
        return NULL;
    }
    return fd < 0 ? NULL : fdopen(fd, "r");
}

/* Adds the lines around a place; none if the file cannot be read or is shorter by now. */
static void add_source(struct log_line *line, const char *sources, const struct place *place) {
    char lines[(2 * AROUND + 1) * (SOURCE_BYTES + 32)], number[24], *text = NULL;
    size_t used = 0, room = 0;
    char name[4096];
    bool is_short = strncmp(place->file, "...", 3) == 0;
    if (is_short)
        find_whole_name(sources, place->file, name, sizeof name);
    FILE *file = open_source(is_short ? name : place->file);
    if (file == NULL)
        return;
    ssize_t len;
    for (unsigned long at = 1;
         at <= place->line + AROUND && (len = getline(&text, &room, file)) >= 0; at++) {
        if (at + AROUND < place->line)
            continue;
        int shown = (int)strcspn(text, "\r\n");
        used += (size_t)snprintf(lines + used, sizeof lines - used, "%s%lu\t%.*s",
                                 used == 0 ? "" : "\n", at,
                                 shown < SOURCE_BYTES ? shown : SOURCE_BYTES, text);
    }
    free(text); /* getline()'s */
    fclose(file);
    snprintf(number, sizeof number, "%lu", place->line);
    log_source(line, number, lines, used);
}

void trace_log(struct log_line *line, const char *sources, const char *why, const char *traceback) {
    struct place first, in_message;
    if (!line->wanted || add_frames(line, traceback, &first) == 0 || !log_is_pretty())
        return;
    struct slice message = {why, why == NULL ? 0 : strcspn(why, "\n")};
    bool has_place = message.len > 0 && read_place(message, &in_message) != NULL &&
                     strcmp(in_message.file, first.file) == 0;
    add_source(line, sources, has_place ? &in_message : &first);
}
