/* test_list.c -- members of a list keep their order, and leave and move without a trace. */
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct member {
    int number;
    struct list link;
};

/* The list's numbers in order, and the same backwards: its digits read as one number. */
static unsigned numbers(const struct list *list) {
    unsigned forwards = 0, backwards = 0, place = 1;
    for (struct list *link = list->next; link != list; link = link->next)
        forwards = forwards * 10 + (unsigned)LIST_OWNER(link, struct member, link)->number;
    for (struct list *link = list->prev; link != list; link = link->prev) {
        backwards += place * (unsigned)LIST_OWNER(link, struct member, link)->number;
        place *= 10;
    }
    assert_int_equal(forwards, backwards);
    assert_int_equal(list_empty(list), forwards == 0);
    return forwards;
}

struct fixture {
    struct list list, other;
    struct member m[10];
};

static void fill(struct fixture *f, int count) {
    list_init(&f->list);
    list_init(&f->other);
    for (int i = 1; i < 10; i++) {
        f->m[i].number = i;
        list_init(&f->m[i].link);
        if (i <= count)
            list_append(&f->list, &f->m[i].link);
    }
}

static void test_order(void **state) {
    struct fixture f;
    fill(&f, 0);
    assert_int_equal(numbers(&f.list), 0);
    fill(&f, 5);
    assert_int_equal(numbers(&f.list), 12345);
}

static void test_remove(void **state) {
    struct fixture f;
    fill(&f, 5);
    list_remove(&f.m[1].link);
    assert_int_equal(numbers(&f.list), 2345);
    list_remove(&f.m[5].link);
    assert_int_equal(numbers(&f.list), 234);
    list_remove(&f.m[3].link);
    assert_int_equal(numbers(&f.list), 24);
    assert_true(list_empty(&f.m[3].link)); /* in no list */
    list_remove(&f.m[3].link);
    assert_int_equal(numbers(&f.list), 24);
    list_append(&f.list, &f.m[3].link);
    assert_int_equal(numbers(&f.list), 243);
    list_remove(&f.m[2].link);
    list_remove(&f.m[4].link);
    list_remove(&f.m[3].link);
    assert_int_equal(numbers(&f.list), 0);
}

static void test_move(void **state) {
    struct fixture f;
    fill(&f, 3);
    list_move(&f.other, &f.list);
    assert_int_equal(numbers(&f.list), 0);
    assert_int_equal(numbers(&f.other), 123);
    list_move(&f.other, &f.list); /* of nothing */
    assert_int_equal(numbers(&f.other), 123);
    list_append(&f.list, &f.m[4].link);
    list_append(&f.list, &f.m[5].link);
    list_move(&f.other, &f.list); /* to the end of others */
    assert_int_equal(numbers(&f.other), 12345);
    list_remove(&f.m[4].link); /* a member need not know where it is */
    assert_int_equal(numbers(&f.other), 1235);
    list_append(&f.list, &f.m[4].link);
    assert_int_equal(numbers(&f.list), 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_remove),
        cmocka_unit_test(test_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
