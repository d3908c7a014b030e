/* talk_show.c -- how `tidewire talk` shows what a server says. See talk_show.h. */
#include "server/talk_show.h"

#include <stdint.h>

/* The character that begins here, of valid UTF-8, and its length. */
static uint32_t decode(const unsigned char *at, size_t len, size_t *size) {
    static const unsigned char marks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    *size = at[0] < 0x80 ? 1 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (*size > len)
        *size = len; /* never, of what is valid */
    uint32_t c = at[0] & marks[*size];
    for (size_t i = 1; i < *size; i++)
        c = c << 6 | (at[i] & 0x3f);
    return c;
}

/* Would a terminal do something else than show it? */
static bool steers(uint32_t c) {
    return (c < 0x20 && c != '\t' && c != '\n') || (c >= 0x7f && c <= 0x9f) || c == 0x061c ||
           c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

void talk_show_text(FILE *out, const char *bytes, size_t len, bool for_terminal) {
    const unsigned char *at = (const unsigned char *)bytes;
    size_t size;
    if (!for_terminal) {
        fwrite(bytes, 1, len, out);
        return;
    }
    for (; len > 0; at += size, len -= size) {
        uint32_t c = decode(at, len, &size);
        if (!steers(c))
            fwrite(at, 1, size, out);
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
