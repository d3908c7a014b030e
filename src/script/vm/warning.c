/* warning.c -- Lua's warnings as lines of the log. See warning.h. */
#include "script/vm/warning.h"

#include "base/log/log.h"

#include <string.h>

/* Warnings come in pieces. */
static void on_warning(void *context, const char *text, int to_be_continued) {
    static _Thread_local char warning[512];
    (void)context;
    if (warning[0] == '\0' && !to_be_continued && text[0] == '@')
        return; /* "@on" and "@off": the log level decides whether warnings are logged */
    strncat(warning, text, sizeof warning - 1 - strlen(warning));
    if (to_be_continued)
        return;
    struct log_line line;
    log_begin_limited(&line, LOG_WARN, "script_warning");
    log_str(&line, "why", warning);
    log_end(&line);
    warning[0] = '\0';
}

void warning_open(lua_State *L) {
    lua_setwarnf(L, on_warning, NULL);
}
