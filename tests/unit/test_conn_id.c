/* test_conn_id.c -- the text of an id gives the id again; any other text, and one of another
 * process, gives none. */
#include "base/conn_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const conn_id ids[] = {
    UINT64_C(0x0000000001000000), UINT64_C(0x00000000010000ff), UINT64_C(0x02000001f5abcdef),
    UINT64_C(0x7f0123456789abcd), UINT64_C(0x7fffffffffffffff),
};
enum { ID_COUNT = sizeof ids / sizeof *ids };

static bool is_id(const char *text) {
    conn_id id;
    return conn_id_parse(text, strlen(text), &id);
}

static void test_parts(void **state) {
    conn_id id = conn_id_of(127, UINT64_C(0x0123456789abcd));
    assert_true(id == UINT64_C(0x7f0123456789abcd));
    assert_int_equal(conn_id_worker(id), 127);
    assert_int_equal(conn_id_slot(id), 0x89abcd);
}

static void test_there_and_back(void **state) {
    conn_id_draw_node();
    for (int i = 0; i < ID_COUNT; i++) {
        char text[CONN_ID_LEN + 1];
        conn_id_format(text, ids[i]);
        assert_int_equal(strlen(text), CONN_ID_LEN);
        assert_int_equal(strspn(text, "0123456789abcdefghijklmnopqrstuv"), CONN_ID_LEN);
        conn_id id = 0;
        assert_true(conn_id_parse(text, CONN_ID_LEN, &id));
        assert_true(id == ids[i]);
    }
}

/* RFC 4648 section 7, written without the code that is tried. */
static void test_the_form(void **state) {
    static const char *const numbers[] = {"00000000g0000", "00000000g007v", "0400007qqnjff",
                                          "7u0938ljojaud", "7vvvvvvvvvvvv"};
    for (int i = 0; i < ID_COUNT; i++) {
        char text[CONN_ID_LEN + 1];
        conn_id_format(text, ids[i]);
        assert_string_equal(text + CONN_ID_NODE_LEN, numbers[i]);
    }
}

static void test_what_is_no_id(void **state) {
    char text[CONN_ID_LEN + 1], other[CONN_ID_LEN + 3];
    conn_id_format(text, UINT64_C(0x0200000abcabcdef));
    assert_true(is_id(text));
    for (size_t len = 0; len < CONN_ID_LEN; len++) { /* too short at either end */
        conn_id id;
        assert_false(conn_id_parse(text, len, &id));
        assert_false(conn_id_parse(text + len + 1, CONN_ID_LEN - len - 1, &id));
    }
    static const char bad[] = "wzW/:`@ -+\n\x80\xff";
    for (size_t at = 0; at < CONN_ID_LEN; at++) { /* another character in any place */
        for (size_t i = 0; i < sizeof bad; i++) { /* the zero byte, too */
            conn_id id;
            memcpy(other, text, sizeof text);
            other[at] = bad[i];
            assert_false(conn_id_parse(other, CONN_ID_LEN, &id));
        }
        if (text[at] >= 'a') { /* upper case is another text */
            memcpy(other, text, sizeof text);
            other[at] = (char)(other[at] - 'a' + 'A');
            assert_false(is_id(other));
        }
    }
    static const char *const around[][2] = {{"0", ""}, {"", "0"}, {" ", ""}, {"", " "}, {"0x", ""}};
    for (size_t i = 0; i < sizeof around / sizeof *around; i++) {
        char longer[CONN_ID_LEN + 3];
        size_t before = strlen(around[i][0]);
        memcpy(longer, around[i][0], before);
        memcpy(longer + before, text, CONN_ID_LEN);
        memcpy(longer + before + CONN_ID_LEN, around[i][1], strlen(around[i][1]) + 1);
        assert_false(is_id(longer));
    }
    memcpy(other, text, sizeof text); /* more than 63 bits */
    for (other[CONN_ID_NODE_LEN] = '8'; other[CONN_ID_NODE_LEN] != 'w';) {
        assert_false(is_id(other));
        other[CONN_ID_NODE_LEN] =
            (char)(other[CONN_ID_NODE_LEN] == '9' ? 'a' : other[CONN_ID_NODE_LEN] + 1);
    }
    static char huge[100000];
    memset(huge, '9', sizeof huge);
    conn_id id;
    assert_false(conn_id_parse(huge, sizeof huge, &id));
    assert_false(conn_id_parse("", 0, &id));
    assert_false(conn_id_parse(text, CONN_ID_LEN + 1, &id)); /* its zero byte is none of it */
}

static void test_another_node(void **state) {
    char old[CONN_ID_LEN + 1], now[CONN_ID_LEN + 1];
    conn_id_format(old, ids[0]);
    conn_id_draw_node(); /* as the next process does */
    conn_id_format(now, ids[0]);
    assert_true(is_id(now));
    assert_memory_not_equal(old, now, CONN_ID_NODE_LEN);
    assert_string_equal(old + CONN_ID_NODE_LEN, now + CONN_ID_NODE_LEN);
    assert_false(is_id(old));
    for (size_t at = 0; at < CONN_ID_NODE_LEN; at++) { /* one digit is enough */
        char other[CONN_ID_LEN + 1];
        memcpy(other, now, sizeof other);
        other[at] = other[at] == '0' ? '1' : '0';
        assert_false(is_id(other));
    }
}

static void test_a_text_outlives_its_process(void **state) {
    char old[CONN_ID_LEN + 1], text[CONN_ID_LEN + 1];
    conn_id id;
    conn_id_format(old, ids[0]);
    conn_id_draw_node();
    assert_false(is_id(old));
    conn_id_keep_text(old, ids[1]);
    assert_true(conn_id_parse(old, CONN_ID_LEN, &id));
    assert_true(id == ids[1]);
    conn_id_format(text, ids[1]);
    assert_string_equal(text, old);
    conn_id_format(text, ids[0]); /* others have texts of their own */
    assert_string_not_equal(text, old);
    assert_true(conn_id_parse(text, CONN_ID_LEN, &id));
    assert_true(id == ids[0]);
    conn_id_keep_text(old, ids[2]); /* the newest counts */
    assert_true(conn_id_parse(old, CONN_ID_LEN, &id));
    assert_true(id == ids[2]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_the_form),     cmocka_unit_test(test_what_is_no_id),
        cmocka_unit_test(test_another_node), cmocka_unit_test(test_a_text_outlives_its_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
