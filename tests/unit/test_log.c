/* test_log.c -- a line per event, whatever the values are: nothing a client sends breaks one or
 * forges another. Written to a file and read back. */
#include "base/log/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], path[96];
static char text[1 << 20]; /* what was read */
static long position;      /* where in the file the lines begin that read_line() has not seen */

static int open_log(void **state) {
    strcpy(folder, "/tmp/tidewire-log-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof(path), "%s/log", folder);
    return log_open(path);
}

static int remove_log(void **state) {
    char command[128];
    snprintf(command, sizeof(command), "rm -r '%s'", folder);
    return system(command);
}

static int as_text(void **state) {
    log_set_level(LOG_DEBUG);
    log_set_format(LOG_TEXT);
    log_set_worker(-1);
    position = 0;
    return truncate(path, 0);
}

static int as_json(void **state) {
    as_text(state);
    log_set_format(LOG_JSON);
    return 0;
}

static size_t read_file(const char *name) {
    FILE *file = fopen(name, "rb");
    assert_non_null(file);
    fseek(file, strcmp(name, path) == 0 ? position : 0, SEEK_SET);
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    return len;
}

/* The log's one line without its time, whose form is checked, and without the end of the line. */
static const char *read_line(void) {
    size_t len = read_file(path);
    position += (long)len;
    assert_true(len > 0 && text[len - 1] == '\n');
    text[len - 1] = '\0';
    assert_int_equal(strlen(text), len - 1);
    assert_null(strchr(text, '\n'));
    bool json = text[0] == '{';
    const char *time = json ? text + strlen("{\"time\":\"") : text;
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    for (size_t i = 0; form[i] != '\0'; i++)
        assert_true(form[i] == 'd' ? time[i] >= '0' && time[i] <= '9' : time[i] == form[i]);
    return time + strlen(form) + (json ? 2 : 1); /* its quote and comma, or a blank */
}

/* ---- fields ---- */

static void log_all_kinds(void) {
    struct log_line line;
    log_begin(&line, LOG_WARN, "kinds");
    log_str(&line, "plain", "word");
    log_str(&line, "blank", "two words");
    log_str(&line, "none", NULL);
    log_bytes(&line, "bytes", "abc", 2);
    log_int(&line, "least", INT64_MIN);
    log_num(&line, "half", 0.5);
    log_num(&line, "infinite", 1e308 * 10);
    log_bool(&line, "yes", true);
    log_bool(&line, "no", false);
    log_conn(&line, UINT64_C(0x3000001f5000000));
    log_end(&line);
}

static void test_text(void **state) {
    log_all_kinds();
    assert_string_equal(read_line(),
                        "warn event=kinds plain=word blank=\"two words\" none=\"\" bytes=ab "
                        "least=-9223372036854775808 half=0.5 infinite=inf yes=true no=false "
                        "conn=000000000000600007qg0000");
}

static void test_json(void **state) {
    log_all_kinds();
    assert_string_equal(read_line(),
                        "\"level\":\"warn\",\"event\":\"kinds\",\"plain\":\"word\","
                        "\"blank\":\"two words\",\"none\":\"\",\"bytes\":\"ab\","
                        "\"least\":-9223372036854775808,\"half\":0.5,\"infinite\":null,"
                        "\"yes\":true,\"no\":false,\"conn\":\"000000000000600007qg0000\"}");
}

static void test_worker(void **state) {
    log_set_worker(0);
    log_event(LOG_INFO, "here", "why not");
    assert_string_equal(read_line(), "info worker=0 event=here why=\"why not\"");
    log_set_format(LOG_JSON);
    log_set_worker(12);
    log_eventf(LOG_ERROR, "here", "%d of %s", 1, "two");
    assert_string_equal(
        read_line(), "\"level\":\"error\",\"worker\":12,\"event\":\"here\",\"why\":\"1 of two\"}");
}

static void test_levels(void **state) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (int threshold = LOG_DEBUG; threshold <= LOG_ERROR; threshold++) {
        enum log_level level;
        assert_true(log_level_parse(names[threshold], &level));
        assert_int_equal(level, threshold);
        log_set_level(level);
        for (int at = LOG_DEBUG; at <= LOG_ERROR; at++) {
            assert_int_equal(log_enabled((enum log_level)at), at >= threshold);
            log_event((enum log_level)at, "at", names[at]);
            log_eventf((enum log_level)at, "at", "%s", names[at]);
            size_t len = read_file(path), lines = 0;
            for (size_t i = 0; i < len; i++)
                lines += text[i] == '\n';
            assert_int_equal(lines, at >= threshold ? 2 : 0);
            position += (long)len;
        }
    }
    enum log_level level = LOG_WARN;
    assert_false(log_level_parse("warning", &level));
    assert_false(log_level_parse("INFO", &level));
    assert_false(log_level_parse("", &level));
    assert_int_equal(level, LOG_WARN);
}

/* ---- hostile values ---- */

static void log_value(const char *value, size_t len) {
    struct log_line line;
    log_begin(&line, LOG_INFO, "value");
    log_bytes(&line, "v", value, len);
    log_bool(&line, "end", true);
    log_end(&line);
}

static void test_escapes(void **state) {
    static const struct {
        const char *value, *text;
    } cases[] = {
        {"a\nb", "\"a\\nb\""},
        {"a\r\nevent=forged", "\"a\\r\\nevent=forged\""},
        {"a\tb", "\"a\\tb\""},
        {"say \"hi\"", "\"say \\\"hi\\\"\""},
        {"back\\slash", "\"back\\\\slash\""},
        {"\x1b[31m", "\"\\u001b[31m\""},
        {"\x7f", "\"\\u007f\""},
        {"a=b", "\"a=b\""},
        {"", "\"\""},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"a\xc2\x80", "\"a\\u0080\""}, /* C1 */
        {"\xc2\x9b"
         "31m",
         "\"\\u009b31m\""}, /* the other way to begin an escape sequence */
        {"\xc2\xa0", "\xc2\xa0"},
        {"\xd8\x9c", "\"\\u061c\""},                        /* Arabic letter mark */
        {"\xe2\x80\x8d", "\xe2\x80\x8d"},                   /* joins emoji */
        {"\xe2\x80\x8e\xe2\x80\x8f", "\"\\u200e\\u200f\""}, /* left-to-right mark, and the other */
        {"a\xe2\x80\xa8"
         "b\xe2\x80\xa9",
         "\"a\\u2028b\\u2029\""},                           /* line and paragraph separator */
        {"\xe2\x80\xaa\xe2\x80\xae", "\"\\u202a\\u202e\""}, /* embedding, override */
        {"\xe2\x80\xaf", "\xe2\x80\xaf"},
        {"\xe2\x81\xa6\xe2\x81\xa9", "\"\\u2066\\u2069\""}, /* isolates */
        {"\xef\xbb\xbf", "\"\\ufeff\""},                    /* byte order mark */
        {"\xef\xbf\xb9", "\"\\ufff9\""},                    /* annotation */
        {"\xf3\xa0\x81\x81", "\"\\udb40\\udc41\""},         /* tag */
        {"\xf0\x9f\x8c\x8a", "\xf0\x9f\x8c\x8a"},
        {"\xff", "\"\\\\xff\""}, /* not UTF-8: byte by byte, the rest as it is */
        {"caf\xe9 \xc3\xbc", "\"caf\\\\xe9 \xc3\xbc\""},
        {"\xe2\x80", "\"\\\\xe2\\\\x80\""},
        {"\xed\xa0\x80", "\"\\\\xed\\\\xa0\\\\x80\""}, /* a surrogate */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char want[128];
        log_value(cases[i].value, strlen(cases[i].value));
        snprintf(want, sizeof(want), "info event=value v=%s end=true", cases[i].text);
        assert_string_equal(read_line(), want);
    }
    log_value("a\0b", 3);
    assert_string_equal(read_line(), "info event=value v=\"a\\u0000b\" end=true");
}

/* Is this well-formed JSON text of strings, numbers and words in one object? Unescapes the string
 * under the key "v" into `value`. A parser of its own, so that it ref_cache no mistake. */
static const char *json_string(const char *p, char *out, size_t *len) {
    *len = 0;
    assert_int_equal(*p++, '"');
    while (*p != '"') {
        unsigned char c = (unsigned char)*p++;
        assert_true(c >= 0x20);
        if (c == '\\') {
            c = (unsigned char)*p++;
            const char *found = strchr("\"\"\\\\//b\bf\fn\nr\rt\t", c);
            if (c == 'u') {
                unsigned code = 0;
                for (int i = 0; i < 4; i++, p++) {
                    const char *digit = strchr("0123456789abcdef", *p);
                    assert_true(*p != '\0' && digit != NULL);
                    code = code * 16 + (unsigned)(digit - "0123456789abcdef");
                }
                assert_true(code < 0x80); /* nothing else needs it */
                c = (unsigned char)code;
            } else {
                assert_non_null(found);
                c = (unsigned char)found[1];
            }
        }
        out[(*len)++] = (char)c;
    }
    return p + 1;
}

static bool json_word_ends(char c) {
    return c == ',' || c == '}';
}

static void check_json_line(const char *value, size_t len) {
    static char key[1 << 16], found[1 << 20];
    size_t n;
    bool seen = false;
    const char *p = text;
    assert_int_equal(*p++, '{');
    for (;;) {
        p = json_string(p, key, &n);
        key[n] = '\0';
        assert_int_equal(*p++, ':');
        if (*p == '"') {
            p = json_string(p, found, &n);
            if (strcmp(key, "v") == 0) {
                seen = true;
                assert_int_equal(n, len);
                assert_memory_equal(found, value, len);
            }
        } else {
            while (!json_word_ends(*p))
                assert_non_null(strchr("-+.eE0123456789truefalsn", *p++));
        }
        if (*p++ == '}')
            break;
        assert_int_equal(p[-1], ',');
    }
    assert_int_equal(*p, '\0');
    assert_true(seen);
}

static void test_json_lines_parse(void **state) {
    char value[256];
    for (int c = 0; c < 0x80; c++) { /* each character, alone and between others */
        value[0] = (char)c;
        log_value(value, 1);
        read_line();
        check_json_line(value, 1);
        memcpy(value, "ab\"", 3);
        value[3] = (char)c;
        memcpy(value + 4, "u0041\\", 6);
        log_value(value, 10);
        read_line();
        check_json_line(value, 10);
    }
    static const char words[] = "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8c\x8a";
    log_value(words, strlen(words));
    read_line();
    check_json_line(words, strlen(words));
}

/* Bytes that are no UTF-8 must not make a JSON line that no parser takes (RFC 8259 section 8.1). */
static bool is_utf8(const unsigned char *p) {
    while (*p != '\0') {
        int more = *p < 0x80                 ? 0
                   : *p >= 0xc2 && *p < 0xe0 ? 1
                   : *p >= 0xe0 && *p < 0xf0 ? 2
                   : *p >= 0xf0 && *p < 0xf5 ? 3
                                             : -1;
        if (more < 0 || (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
            (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
            return false;
        for (p++; more > 0; more--, p++)
            if ((*p & 0xc0) != 0x80)
                return false;
    }
    return true;
}

/* Random bytes: no control byte gets through, and it is one line, in both formats. */
static void test_no_control_byte_gets_through(void **state) {
    uint32_t seed = 11;
    for (int i = 0; i < 1000; i++) {
        char value[64];
        size_t len = 0;
        do {
            seed = seed * 1664525u + 1013904223u;
            value[len++] = (char)(seed >> 16);
        } while (len < sizeof(value) && (seed >> 8) % 32 != 0);
        log_set_format(i % 2 ? LOG_TEXT : LOG_JSON);
        log_value(value, len);
        read_line();
        for (const char *p = text; *p != '\0'; p++)
            assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
        assert_true(is_utf8((const unsigned char *)text));
        assert_non_null(strstr(text, i % 2 ? " end=true" : ",\"end\":true}"));
    }
}

static void test_json_lines_are_utf8(void **state) {
    static const char *const values[] = {
        "\xff", "caf\xe9", "\xc3", "\xed\xa0\x80", "\xc0\xaf", "a\x80z", "\xf4\x90\x80\x80"};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        log_value(values[i], strlen(values[i]));
        read_line();
        assert_true(is_utf8((const unsigned char *)text));
        assert_non_null(strstr(text, ",\"end\":true}"));
    }
}

/* ---- long lines ---- */

enum { LINE_MAX_BYTES = 16 * 1024 }; /* as documented */

/* Values up to some kilobytes are there whole, also where the line needs memory of its own. */
static void test_long_values(void **state) {
    static char value[8000];
    memset(value, 'x', sizeof(value));
    for (size_t len = 440; len < 520; len++) {
        log_value(value, len);
        const char *line = read_line();
        assert_int_equal(strlen(line), strlen("info event=value v= end=true") + len);
        assert_non_null(strstr(line, "x end=true"));
    }
    log_value(value, sizeof(value));
    assert_int_equal(strlen(read_line()), strlen("info event=value v= end=true") + sizeof(value));
}

/* What is longer is cut, and it is said by how much; what comes after it is still there. */
static void test_lines_have_a_ceiling(void **state) {
    static char value[5000000];
    static const char *const fillings[] = {"x",    "\n",           "\xc3\xbc", "\x01",
                                           "\xff", "\xe2\x80\xa8", "\""};
    for (int format = LOG_TEXT; format <= LOG_PRETTY; format++) {
        log_set_format((enum log_format)format);
        for (size_t i = 0; i < sizeof(fillings) / sizeof(fillings[0]); i++) {
            size_t piece = strlen(fillings[i]), len = sizeof(value) / piece * piece;
            for (size_t at = 0; at < len; at += piece)
                memcpy(value + at, fillings[i], piece);
            log_value(value, len);
            size_t read = read_file(path);
            position += (long)read;
            assert_in_range(read, format == LOG_PRETTY ? 1000 : 4000, LINE_MAX_BYTES);
            assert_int_equal(text[read - 1], '\n');
            assert_ptr_equal(strchr(text, '\n'), text + read - 1);
            const char *mark = strstr(text, "\xe2\x80\xa6(+");
            assert_non_null(mark);
            size_t shown = len - strtoul(mark + 5, NULL, 10);
            assert_in_range(shown, 1, 8 * 1024);
            assert_non_null(
                strstr(mark, format == LOG_JSON ? " bytes)\",\"end\":true}\n" : "end=true"));
        }
    }
}

static void test_many_fields(void **state) {
    static char key[100];
    memset(key, '"', sizeof(key) - 1); /* which JSON makes longer */
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        log_set_format((enum log_format)format);
        struct log_line line;
        log_begin(&line, LOG_INFO, "many");
        for (int i = 0; i < 5000; i++)
            log_int(&line, i % 100 == 7 ? key : "n", i);
        log_end(&line);
        size_t read = read_file(path);
        position += (long)read;
        assert_in_range(read, 8000, LINE_MAX_BYTES);
        assert_non_null(strstr(text, format == LOG_TEXT ? " n=0 n=1 " : ",\"n\":0,\"n\":1,"));
        const char *left_out = strstr(text, format == LOG_TEXT ? " left_out=" : ",\"left_out\":");
        assert_non_null(left_out);
        assert_in_range(strtoul(left_out + 12, NULL, 10), 10, 5000);
        assert_non_null(strstr(left_out, format == LOG_TEXT ? "\n" : "}\n"));
    }
}

static void test_formatted_text_is_cut_not_broken(void **state) {
    static char value[5000];
    memset(value, 'y', sizeof(value) - 1);
    log_eventf(LOG_INFO, "long", "%s", value);
    assert_in_range(strlen(read_line()), 500, 5100);
    assert_non_null(strstr(text, "yyy"));
    log_eventf(LOG_INFO, "sly", "%s", "a\nlevel=error");
    assert_string_equal(read_line(), "info event=sly why=\"a\\nlevel=error\"");
}

/* ---- files ---- */

static void test_reopen(void **state) {
    char moved[128];
    snprintf(moved, sizeof(moved), "%s/moved", folder);
    log_event(LOG_INFO, "one", "x");
    assert_int_equal(rename(path, moved), 0);
    log_event(LOG_INFO, "two", "x"); /* still to the file that was moved */
    assert_int_equal(log_reopen(), 0);
    position = 0; /* a new file */
    log_event(LOG_INFO, "three", "x");
    assert_non_null(strstr(read_line(), "event=three"));
    read_file(moved);
    assert_non_null(strstr(text, "event=one"));
    assert_non_null(strstr(text, "event=two"));
    assert_null(strstr(text, "event=three"));
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777 & ~0640, 0); /* not readable for others */
    assert_int_equal(unlink(moved), 0);
}

static void test_reopen_that_fails(void **state) {
    char away[128];
    snprintf(away, sizeof(away), "%s-away", folder);
    assert_int_equal(rename(folder, away), 0);
    assert_true(log_reopen() < 0);
    log_event(LOG_INFO, "kept", "x"); /* the old file goes on */
    assert_int_equal(rename(away, folder), 0);
    assert_non_null(strstr(read_line(), "event=kept"));
}

static void test_reopen_appends(void **state) {
    log_event(LOG_INFO, "one", "x");
    assert_int_equal(log_reopen(), 0);
    log_event(LOG_INFO, "two", "x");
    read_file(path);
    assert_non_null(strstr(text, "event=one"));
    assert_non_null(strstr(text, "event=two"));
}

static void test_open_that_fails(void **state) {
    char nowhere[128];
    snprintf(nowhere, sizeof(nowhere), "%s/no/such/folder", folder);
    assert_true(log_open(nowhere) < 0);
    log_event(LOG_INFO, "kept", "x");
    assert_non_null(strstr(read_line(), "event=kept"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_text, as_text),
        cmocka_unit_test_setup(test_json, as_json),
        cmocka_unit_test_setup(test_worker, as_text),
        cmocka_unit_test_setup(test_levels, as_text),
        cmocka_unit_test_setup(test_escapes, as_text),
        cmocka_unit_test_setup(test_json_lines_parse, as_json),
        cmocka_unit_test_setup(test_no_control_byte_gets_through, as_text),
        cmocka_unit_test_setup(test_json_lines_are_utf8, as_json),
        cmocka_unit_test_setup(test_long_values, as_text),
        cmocka_unit_test_setup(test_lines_have_a_ceiling, as_text),
        cmocka_unit_test_setup(test_many_fields, as_text),
        cmocka_unit_test_setup(test_formatted_text_is_cut_not_broken, as_text),
        cmocka_unit_test_setup(test_reopen, as_text),
        cmocka_unit_test_setup(test_reopen_that_fails, as_text),
        cmocka_unit_test_setup(test_reopen_appends, as_text),
        cmocka_unit_test_setup(test_open_that_fails, as_text),
    };
    return cmocka_run_group_tests(tests, open_log, remove_log);
}
