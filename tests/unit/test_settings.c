/* test_settings.c -- the command line and the environment: which overrides which, and the messages
 * for mistakes. */
#include "script/vm/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct settings settings;
static char said[4096]; /* on stderr, by the last read() */

static int clear_environment(void **state) {
    static const char *const names[] = {
        "LISTEN",   "WORKERS",  "ADMIN",         "LOG_LEVEL",         "LOG_FORMAT",
        "LOG_FILE", "PID_FILE", "DRAIN_SECONDS", "LAME_DUCK_SECONDS", "DRAIN_JITTER"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char name[64];
        snprintf(name, sizeof(name), "TIDEWIRE_%s", names[i]);
        unsetenv(name);
    }
    return 0;
}

static int close_settings(void **state) {
    settings_close(&settings);
    memset(&settings, 0, sizeof(settings));
    return 0;
}

/* Reads arguments that spaces separate, and catches stderr. */
static bool read_words(const char *words) {
    static char copy[1024], program[] = "tidewire";
    char *argv[32] = {program};
    int argc = 1;
    snprintf(copy, sizeof(copy), "%s", words);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " "))
        argv[argc++] = word;
    close_settings(NULL);
    FILE *caught = tmpfile();
    int real = dup(STDERR_FILENO);
    fflush(stderr);
    dup2(fileno(caught), STDERR_FILENO);
    bool good = settings_read(&settings, argc, argv);
    fflush(stderr);
    dup2(real, STDERR_FILENO);
    close(real);
    rewind(caught);
    said[fread(said, 1, sizeof(said) - 1, caught)] = '\0';
    fclose(caught);
    return good;
}

/* The arguments are good, and no message is printed. */
static void check_good(const char *words) {
    if (!read_words(words))
        fail_msg("%s: %s", words, said);
    assert_string_equal(said, "");
}

/* The arguments are refused, and the one message has each of up to three pieces. */
static void check_bad(const char *words, const char *one, const char *two, const char *three) {
    if (read_words(words))
        fail_msg("%s is taken", words);
    assert_true(strncmp(said, "tidewire: ", 10) == 0);
    assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
    const char *const pieces[] = {one, two, three};
    for (int i = 0; i < 3; i++)
        if (pieces[i] != NULL && strstr(said, pieces[i]) == NULL)
            fail_msg("%s: no \"%s\" in: %s", words, pieces[i], said);
}

static void test_defaults(void **state) {
    check_good("app.lua");
    assert_int_equal(settings.action, ACTION_RUN);
    assert_string_equal(settings.target, "app.lua");
    assert_int_equal(settings.listen.count, 0);
    assert_null(settings.workers);
    assert_null(settings.admin);
    assert_null(settings.log_file);
    assert_null(settings.pid_file);
    assert_int_equal(settings.log_level, LOG_INFO);
    assert_int_equal(settings.log_format, LOG_AUTO);
    assert_true(settings.drain_seconds == 10);
    assert_true(settings.lame_duck_seconds == 0);
    assert_true(settings.drain_jitter == 0);
    assert_false(settings.upgrade);
}

static void test_options(void **state) {
    static const char *const forms[] = {
        "app.lua --listen 127.0.0.1:0 --listen unix:/x --workers 4 --admin [::1]:9 --log-level "
        "debug "
        "--log-format json --log-file l --pid-file p --drain-seconds 2.5 --lame-duck-seconds 3 "
        "--drain-jitter 1.5 "
        "--upgrade",
        "--listen=127.0.0.1:0 --listen=unix:/x --workers=4 --admin=[::1]:9 --log-level=debug "
        "--log-format=json --log-file=l app.lua --pid-file=p --drain-jitter=1.5 "
        "--drain-seconds=2.5 "
        "--upgrade --lame-duck-seconds=3"};
    for (int i = 0; i < 2; i++) {
        check_good(forms[i]);
        assert_string_equal(settings.target, "app.lua");
        assert_int_equal(settings.listen.count, 2);
        assert_string_equal(settings.listen.texts[0], "127.0.0.1:0");
        assert_string_equal(settings.listen.texts[1], "unix:/x");
        assert_string_equal(settings.workers, "4");
        assert_string_equal(settings.admin, "[::1]:9");
        assert_int_equal(settings.log_level, LOG_DEBUG);
        assert_int_equal(settings.log_format, LOG_JSON);
        assert_string_equal(settings.log_file, "l");
        assert_string_equal(settings.pid_file, "p");
        assert_true(settings.drain_seconds == 2.5);
        assert_true(settings.lame_duck_seconds == 3);
        assert_true(settings.drain_jitter == 1.5);
        assert_true(settings.upgrade);
    }
    check_good("app.lua --log-file=a=b"); /* the first "=" counts */
    assert_string_equal(settings.log_file, "a=b");
    check_good("app.lua --log-level debug --log-level error"); /* the last one counts */
    assert_int_equal(settings.log_level, LOG_ERROR);
}

static void test_actions(void **state) {
    check_good("check app.lua");
    assert_int_equal(settings.action, ACTION_CHECK);
    assert_string_equal(settings.target, "app.lua");
    check_good("--log-level debug check app.lua");
    assert_int_equal(settings.action, ACTION_CHECK);
    check_good("new chat");
    assert_int_equal(settings.action, ACTION_NEW);
    assert_string_equal(settings.target, "chat");
    check_good("check check"); /* a file of that name */
    assert_string_equal(settings.target, "check");
    check_good("new new");
    assert_string_equal(settings.target, "new");
    check_good("./new");
    assert_int_equal(settings.action, ACTION_RUN);
    check_good("-"); /* no option */
    assert_string_equal(settings.target, "-");
}

/* A directory means its app.lua; no argument means that of the working directory. */
static void test_folders(void **state) {
    char folder[] = "/tmp/tidewire-settings-XXXXXX", here[1024], words[64];
    assert_non_null(mkdtemp(folder));
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(folder), 0);
    check_bad("", "a script is needed: tidewire FILE", "no app.lua in this folder", "tidewire new");
    check_bad("run", "a script is needed", "no app.lua in this folder", NULL);
    check_bad(".", "the folder \".\" has no app.lua", "tidewire new DIR", NULL);
    check_bad("check .", "the folder \".\" has no app.lua", NULL, NULL);
    FILE *file = fopen("app.lua", "w");
    assert_non_null(file);
    fclose(file);
    static const char *const here_forms[] = {
        "", "run", ".", "./", "run .", "--log-level debug", "check .", "run ./app.lua"};
    for (size_t i = 0; i < sizeof(here_forms) / sizeof(here_forms[0]); i++) {
        check_good(here_forms[i]);
        assert_string_equal(settings.target, i == 7 ? "./app.lua" : "app.lua");
    }
    check_bad("check", "check needs a file", NULL, NULL);
    check_bad("app", "there is no file \"app\"", "did you mean app.lua?", NULL);
    check_bad("check ./app", "did you mean ./app.lua?", NULL, NULL);
    assert_int_equal(chdir("/"), 0);
    static const char *const ends[] = {"", "/", "//"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(words, sizeof(words), "run %s%s", folder, ends[i]);
        check_good(words);
        assert_string_equal(settings.target + strlen(folder), "/app.lua");
    }
    snprintf(words, sizeof(words), "%s/app.lua", folder);
    remove(words);
    rmdir(folder);
    assert_int_equal(chdir(here), 0);
}

static void test_commands(void **state) {
    check_good("run app.lua --watch");
    assert_int_equal(settings.action, ACTION_RUN);
    assert_string_equal(settings.target, "app.lua");
    check_good("run run"); /* a file of that name */
    assert_string_equal(settings.target, "run");
    check_good("./serve");
    static const char *const help[] = {"help", "help check", "--log-level debug help"};
    for (size_t i = 0; i < 3; i++) {
        check_good(help[i]);
        assert_int_equal(settings.action, ACTION_HELP);
    }
    check_good("version");
    assert_int_equal(settings.action, ACTION_VERSION);
    setenv("TIDEWIRE_LOG_LEVEL", "nonsense", 1);
    check_good("help");
    check_good("version");
}

static void test_help_and_version(void **state) {
    static const char *const help[] = {"--help", "-h", "app.lua --help", "new -h",
                                       "--nonsense --help"};
    for (size_t i = 0; i < 5; i++) {
        check_good(help[i]);
        assert_int_equal(settings.action, ACTION_HELP);
    }
    check_good("--version");
    assert_int_equal(settings.action, ACTION_VERSION);
    setenv("TIDEWIRE_LOG_LEVEL", "nonsense", 1); /* help needs no valid environment */
    check_good("--help");
    check_good("-v");
}

/* The help names each option and its variable. */
static void test_help_is_complete(void **state) {
    static const char *const names[] = {"--listen",
                                        "--workers",
                                        "--admin",
                                        "--log-level",
                                        "--log-format",
                                        "--log-file",
                                        "--pid-file",
                                        "--drain-seconds",
                                        "--lame-duck-seconds",
                                        "--drain-jitter",
                                        "--upgrade",
                                        "--version",
                                        "--help",
                                        "TIDEWIRE_LISTEN",
                                        "TIDEWIRE_WORKERS",
                                        "TIDEWIRE_ADMIN",
                                        "TIDEWIRE_LOG_LEVEL",
                                        "TIDEWIRE_LOG_FORMAT",
                                        "TIDEWIRE_LOG_FILE",
                                        "TIDEWIRE_PID_FILE",
                                        "TIDEWIRE_DRAIN_SECONDS",
                                        "TIDEWIRE_LAME_DUCK_SECONDS",
                                        "TIDEWIRE_DRAIN_JITTER",
                                        "check FILE",
                                        "new DIR"};
    check_good("help");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strstr(settings.help, names[i]) == NULL)
            fail_msg("%s is not in the help", names[i]);
}

/* ---- the environment ---- */

static void test_environment(void **state) {
    setenv("TIDEWIRE_LOG_LEVEL", "warn", 1);
    setenv("TIDEWIRE_LOG_FORMAT", "json", 1);
    setenv("TIDEWIRE_LOG_FILE", "of-environment", 1);
    setenv("TIDEWIRE_PID_FILE", "pid", 1);
    setenv("TIDEWIRE_DRAIN_SECONDS", "0", 1);
    setenv("TIDEWIRE_LAME_DUCK_SECONDS", "7", 1);
    check_good("app.lua");
    assert_int_equal(settings.log_level, LOG_WARN);
    assert_int_equal(settings.log_format, LOG_JSON);
    assert_string_equal(settings.log_file, "of-environment");
    assert_string_equal(settings.pid_file, "pid");
    assert_true(settings.drain_seconds == 0);
    assert_true(settings.lame_duck_seconds == 7);
    setenv("TIDEWIRE_DRAIN_JITTER", "60", 1);
    check_good("app.lua --log-level error --log-format=text --log-file f --drain-seconds 86400");
    assert_int_equal(settings.log_level, LOG_ERROR); /* the command line overrides it */
    assert_int_equal(settings.log_format, LOG_TEXT);
    assert_string_equal(settings.log_file, "f");
    assert_string_equal(settings.pid_file, "pid");
    assert_true(settings.drain_seconds == 86400);
    assert_true(settings.drain_jitter == 60);
    unsetenv("TIDEWIRE_DRAIN_JITTER");
    setenv("TIDEWIRE_LOG_LEVEL", "", 1); /* empty is unset */
    check_good("app.lua");
    assert_int_equal(settings.log_level, LOG_INFO);
}

static void test_mistakes_in_the_environment(void **state) {
    setenv("TIDEWIRE_LOG_LEVEL", "loud", 1);
    check_bad("app.lua", "TIDEWIRE_LOG_LEVEL", "debug, info, warn or error", "\"loud\"");
    unsetenv("TIDEWIRE_LOG_LEVEL");
    setenv("TIDEWIRE_DRAIN_SECONDS", "soon", 1);
    check_bad("app.lua", "TIDEWIRE_DRAIN_SECONDS", "seconds", "\"soon\"");
}

/* ---- mistakes ---- */

static void test_values(void **state) {
    check_bad("app.lua --log-level loud", "--log-level", "debug, info, warn or error", "\"loud\"");
    check_bad("app.lua --log-level=", "--log-level", "expected", "\"\"");
    check_bad("app.lua --log-format xml", "--log-format", "text, json or pretty", "\"xml\"");
    static const char *const seconds[] = {"soon", "-1",  "10s",   "nan",
                                          "inf",  "1e9", "86401", "1e999"};
    for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
        char words[64];
        snprintf(words, sizeof(words), "app.lua --drain-seconds %s", seconds[i]);
        check_bad(words, "--drain-seconds", "from 0 to 86400", seconds[i]);
    }
    check_bad("app.lua --lame-duck-seconds soon", "--lame-duck-seconds", "from 0 to 86400", "soon");
    check_bad("app.lua --drain-jitter -1", "--drain-jitter", "from 0 to 86400", "-1");
    check_bad("app.lua --drain-seconds=", "--drain-seconds", "from 0 to 86400", NULL);
    check_bad("app.lua --log-file", "--log-file needs a value", NULL, NULL);
    check_bad("--listen", "--listen needs a value", NULL, NULL);
}

static void test_unknown_options(void **state) {
    check_bad("app.lua --lisen 127.0.0.1:1", "--lisen", "did you mean --listen?", "--help");
    check_bad("app.lua --worker=3", "unknown option --worker;", "did you mean --workers?", NULL);
    check_bad("app.lua --loglevel debug", "did you mean --log-level?", NULL, NULL);
    check_bad("app.lua --log-fromat json", "did you mean --log-format?", NULL, NULL);
    check_bad("app.lua --pidfile x", "did you mean --pid-file?", NULL, NULL);
    check_bad("app.lua --drain-second=1", "did you mean --drain-seconds?", NULL, NULL);
    check_bad("--verison", "did you mean --version?", NULL, NULL);
    check_bad("--hepl", "did you mean --help?", NULL, NULL);
    check_bad("app.lua --completely-different", "unknown option --completely-different (", NULL,
              NULL);
    assert_null(strstr(said, "did you mean"));
    check_bad("app.lua -x", "unknown option -x", NULL, NULL);
    char words[900] = "app.lua --";
    memset(words + strlen(words), 'y', 800);
    check_bad(words, "unknown option --yyy", NULL, NULL);
}

static void test_words_of_others(void **state) {
    check_bad("--port 3000", "unknown option --port", "did you mean --listen 127.0.0.1:3000?",
              NULL);
    check_bad("app.lua --port=3000", "did you mean --listen 127.0.0.1:3000?", NULL, NULL);
    check_bad("app.lua -p 3000", "did you mean --listen 127.0.0.1:3000?", NULL, NULL);
    check_bad("app.lua -p3000", "did you mean --listen 127.0.0.1:3000?", NULL, NULL);
    check_bad("app.lua --port --watch", "did you mean --listen 127.0.0.1:8080?", NULL, NULL);
    check_bad("app.lua --host 0.0.0.0", "did you mean --listen 0.0.0.0:8080?", NULL, NULL);
    check_bad("app.lua --threads 4", "did you mean --workers 4?", NULL, NULL);
    check_bad("app.lua --verbose", "did you mean --log-level debug?", NULL, NULL);
    check_bad("app.lua --daemon", "it stays in the foreground", NULL, NULL);
    check_bad("start", "\"start\" is neither a file nor a command", "tidewire run FILE?", NULL);
    check_bad("serve app.lua", "did you mean tidewire run app.lua?", NULL, NULL);
    check_bad("app.lua 3000", "one FILE is enough", "did you mean --listen 127.0.0.1:3000?", NULL);
    check_bad("init", "did you mean tidewire new DIR?", NULL, NULL);
    check_bad("init shop", "did you mean tidewire new shop?", NULL, NULL);
    check_bad("restart", "did you mean tidewire reload --pid-file FILE?", NULL, NULL);
    check_bad("stop", "SIGTERM", NULL, NULL);
    check_bad("test", "busted", NULL, NULL);
    check_bad("chekc", "did you mean tidewire check FILE?", NULL, NULL);
    check_bad("hlep", "did you mean tidewire help?", NULL, NULL);
    check_bad("rnu", "did you mean tidewire run FILE?", NULL, NULL);
    check_good("other"); /* it may be a missing file: the load reports that */
    check_good("serve.lua");
}

static void test_targets(void **state) {
    check_bad("", "a script is needed: tidewire FILE", NULL, NULL);
    check_bad("--log-level debug", "a script is needed: tidewire FILE", NULL, NULL);
    check_bad("check", "tidewire check FILE", NULL, NULL);
    check_bad("reload", "tidewire reload --pid-file FILE", NULL, NULL);
    check_bad("reload app.lua --pid-file p", "and nothing else", NULL, NULL);
    check_good("reload --pid-file p");
    assert_int_equal(settings.action, ACTION_RELOAD);
    check_bad("new", "tidewire new DIR", NULL, NULL);
    check_bad("a.lua b.lua", "one FILE is enough", "\"a.lua\"", "\"b.lua\"");
    assert_null(strstr(said, "did you mean"));
    check_bad("chek app.lua", "did you mean tidewire check app.lua?", NULL, NULL);
    check_bad("nwe chat", "did you mean tidewire new chat?", NULL, NULL);
    check_bad("check a.lua b.lua", "one FILE is enough", NULL, NULL);
}

/* Options that restrict each other, in any order. */
static void test_together(void **state) {
    check_bad("app.lua --drain-jitter 11", "--drain-jitter", "10 seconds of --drain-seconds", "11");
    check_bad("app.lua --drain-jitter 3 --drain-seconds 2", "--drain-jitter", "2 seconds", NULL);
    check_good("app.lua --drain-jitter 30 --drain-seconds 30");
    check_bad("app.lua --upgrade", "--upgrade needs --pid-file", NULL, NULL);
    check_bad("app.lua --upgrade=x --pid-file p", "--upgrade takes no value", NULL, NULL);
    setenv("TIDEWIRE_PID_FILE", "p", 1);
    check_good("app.lua --upgrade");
}

static void test_watch(void **state) {
    check_good("app.lua");
    assert_false(settings.watch);
    check_good("app.lua --watch --log-level debug");
    assert_true(settings.watch);
    assert_int_equal(settings.log_level, LOG_DEBUG);
    check_bad("app.lua --watch=yes", "--watch", NULL, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, clear_environment, close_settings),
        cmocka_unit_test_setup_teardown(test_options, clear_environment, close_settings),
        cmocka_unit_test_setup_teardown(test_actions, clear_environment, close_settings),
        cmocka_unit_test_setup_teardown(test_folders, clear_environment, close_settings),
        cmocka_unit_test_setup_teardown(test_commands, clear_environment, close_settings),
        cmocka_unit_test_setup_teardown(test_words_of_others, clear_environment, close_settings),
        cmocka_unit_test_setup_teardown(test_help_and_version, clear_environment, close_settings),
        cmocka_unit_test_setup_teardown(test_help_is_complete, clear_environment, close_settings),
        cmocka_unit_test_setup_teardown(test_environment, clear_environment, close_settings),
        cmocka_unit_test_setup_teardown(test_mistakes_in_the_environment, clear_environment,
                                        close_settings),
        cmocka_unit_test_setup_teardown(test_values, clear_environment, close_settings),
        cmocka_unit_test_setup_teardown(test_unknown_options, clear_environment, close_settings),
        cmocka_unit_test_setup_teardown(test_targets, clear_environment, close_settings),
        cmocka_unit_test_setup_teardown(test_together, clear_environment, close_settings),
        cmocka_unit_test_setup_teardown(test_watch, clear_environment, close_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
