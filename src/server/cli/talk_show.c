/* talk_show.c -- prints the messages that `tidewire talk` receives. See talk_parts.h. */
#include "server/cli/talk_parts.h"

#include "base/utf8.h"

/* Would a terminal interpret the character? */
static bool controls_terminal(uint32_t c) {
    return utf8_is_unsafe(c) && c != '\t' && c != '\n';
}

void talk_show_text(FILE *out, const char *bytes, size_t len, bool for_terminal) {
    if (!for_terminal) {
        fwrite(bytes, 1, len, out);
        return;
    }
    for (size_t size; len > 0; bytes += size, len -= size) {
        size = utf8_sequence(bytes, len);
        uint32_t c = size == 0 ? (unsigned char)*bytes : utf8_character(bytes, size);
        bool is_whole = size > 0;
        size = is_whole ? size : 1;
        if (is_whole && !controls_terminal(c))
            fwrite(bytes, 1, size, out);
        else if (c < 0x100)
            fprintf(out, "\\x%02x", (unsigned)c);
        else
            fprintf(out, "\\u{%x}", (unsigned)c);
    }
}

static void show_binary(FILE *out, const char *bytes, size_t len) {
    enum { SHOWN = 32 };
    fprintf(out, "(binary, %zu byte%s:", len, len == 1 ? "" : "s");
    for (size_t i = 0; i < len && i < SHOWN; i++)
        fprintf(out, " %02x", (unsigned char)bytes[i]);
    fprintf(out, "%s)\n", len > SHOWN ? " …" : "");
}

void talk_show_message(FILE *out, const char *bytes, size_t len, bool binary, bool for_terminal) {
    if (binary && for_terminal) {
        show_binary(out, bytes, len);
        return;
    }
    talk_show_text(out, bytes, len, for_terminal);
    if (!binary)
        fputc('\n', out);
}
