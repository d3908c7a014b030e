/* fuzz_output.c -- texts of clients in the log and on a terminal: no text breaks a line, forges
 * another one, or controls the terminal.
 *
 * Input: keys and values, each up to a "|". */
#include "fuzz.h"

#include "base/log/log_render.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "script/json/json_c.h"
#include "server/cli/talk_parts.h"

#include <lauxlib.h>

static lua_State *L;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    fuzz_no_leak_check(argc, argv);
    L = luaL_newstate();
    luaL_requiref(L, "tidewire.json_c", luaopen_tidewire_json_c, 0);
    lua_settop(L, 0);
    log_set_level(LOG_DEBUG);
    return 0;
}

static void check_text(const char *bytes, size_t len, const char *allowed) {
    fuzz_check(utf8_valid(bytes, len));
    for (size_t at = 0, n; at < len; at += n) {
        n = utf8_sequence(bytes + at, len - at);
        if (utf8_is_unsafe(utf8_character(bytes + at, n)))
            fuzz_check(n == 1 && bytes[at] != '\0' && strchr(allowed, bytes[at]) != NULL);
    }
}

static void check_line(const struct log_out *out) {
    fuzz_check(out->used > 0 && out->used <= LOG_LINE_MAX);
    size_t len = out->bytes[out->used - 1] == '\n' ? out->used - 1 : out->used;
    check_text(out->bytes, len, "");
}

static void check_json(const struct log_out *out) {
    size_t len = out->bytes[out->used - 1] == '\n' ? out->used - 1 : out->used;
    fuzz_check(json_c_push(L, out->bytes, len) && lua_istable(L, -1));
    lua_settop(L, 0);
}

static void check_log(struct fuzz_input input) {
    static struct log_out out;
    struct log_line line;
    log_begin(&line, LOG_INFO, "event");
    while (input.left > 0) {
        const char *value = (const char *)input.at;
        size_t len = 0;
        while (input.left > 0 && fuzz_byte(&input) != '|')
            len++;
        log_bytes(&line, len % 2 == 0 ? "why" : "path", value, len);
    }
    out.used = 0;
    out.for_people = false;
    log_render_text(&line, &out);
    check_line(&out);
    out.used = 0;
    log_render_json(&line, &out);
    check_line(&out);
    check_json(&out);
    struct log_pretty how = {.shows_all = true};
    out.used = 0;
    out.for_people = true;
    log_render_pretty(&line, &how, &out);
    check_text(out.bytes, out.used, "\n");
    if (line.bytes != line.fixed) /* log_end() would write the line */
        mem_free(line.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_log((struct fuzz_input){data, size});
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    talk_show_text(out, (const char *)data, size, true);
    fclose(out);
    check_text(text, len, "\t\n");
    free(text);
    return 0;
}
