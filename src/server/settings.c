/* settings.c -- the command line and the environment of the process. See settings.h.
 *
 * The options are one table: a new option is a line there and one in settings_help.c. */
#include "server/settings.h"

#include "base/mem.h"
#include "net/client/ws_client.h"
#include "server/hints.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- values of options: false after a message ---- */

static bool complain(const char *name, const char *wanted, const char *got) {
    fprintf(stderr, "tidewire: %s: expected %s, got \"%s\"\n", name, wanted, got);
    return false;
}

static bool set_listen(struct settings *s, const char *name, const char *value) {
    (void)name;
    s->listen = mem_realloc(s->listen, (s->listen_count + 1) * sizeof *s->listen);
    s->listen[s->listen_count++] = value;
    return true;
}

static bool set_log_level(struct settings *s, const char *name, const char *value) {
    return log_level_parse(value, &s->log_level) ||
           complain(name, "debug, info, warn or error", value);
}

static bool set_log_format(struct settings *s, const char *name, const char *value) {
    return log_format_parse(value, &s->log_format) || complain(name, "text, json or pretty", value);
}

static bool set_seconds(double *seconds, const char *name, const char *value) {
    char *end;
    errno = 0;
    *seconds = strtod(value, &end);
    if (end == value || *end != '\0' || errno != 0 || !(*seconds >= 0 && *seconds <= 86400))
        return complain(name, "a number of seconds from 0 to 86400", value);
    return true;
}

static bool set_flag(bool *flag, const char *name, const char *value) {
    if (value != NULL)
        fprintf(stderr, "tidewire: %s takes no value\n", name);
    *flag = value == NULL;
    return *flag;
}

/* ---- of talk ---- */

static bool add(struct settings_list *list, const char *value) {
    list->texts = mem_realloc(list->texts, (list->count + 1) * sizeof *list->texts);
    list->texts[list->count++] = value;
    return true;
}

static bool add_header(struct settings *s, const char *name, const char *value) {
    const char *fault = ws_client_header_fault(value);
    if (fault != NULL)
        fprintf(stderr, "tidewire: %s \"%s\": %s\n", name, value, fault);
    return fault == NULL && add(&s->headers, value);
}

static bool add_subprotocol(struct settings *s, const char *name, const char *value) {
    if (!ws_client_is_subprotocol(value))
        return complain(
            name, "the name of a subprotocol, such as v1.chat (for another one, the option again)",
            value);
    return add(&s->subprotocols, value);
}

static bool set_wait(struct settings *s, const char *name, const char *value) {
    s->has_wait = true;
    return set_seconds(&s->wait_seconds, name, value);
}

/* ---- the options ---- */

enum option_kind {
    OPTION_TEXT,    /* the field is the value itself */
    OPTION_SECONDS, /* the field is a double */
    OPTION_FLAG,    /* no value; the field is a bool */
    OPTION_OTHER,   /* `set` reads the value */
};

struct option {
    const char *name;
    const char *variable; /* read here; NULL: app.lua reads it, or there is none */
    enum option_kind kind;
    size_t field_at; /* of the field in struct settings */
    bool (*set)(struct settings *settings, const char *name, const char *value);
    bool of_talk; /* an option of talk, not of the server */
};

#define TEXT(field)    OPTION_TEXT, offsetof(struct settings, field), NULL
#define SECONDS(field) OPTION_SECONDS, offsetof(struct settings, field), NULL
#define FLAG(field)    OPTION_FLAG, offsetof(struct settings, field), NULL
#define BY(function)   OPTION_OTHER, 0, function

static const struct option options[] = {
    {"--listen", NULL, BY(set_listen), false},
    {"--workers", NULL, TEXT(workers), false},
    {"--admin", NULL, TEXT(admin), false},
    {"--tls-certificate", NULL, TEXT(tls_certificate), false},
    {"--tls-key", NULL, TEXT(tls_key), false},
    {"--log-level", "TIDEWIRE_LOG_LEVEL", BY(set_log_level), false},
    {"--log-format", "TIDEWIRE_LOG_FORMAT", BY(set_log_format), false},
    {"--log-file", "TIDEWIRE_LOG_FILE", TEXT(log_file), false},
    {"--pid-file", "TIDEWIRE_PID_FILE", TEXT(pid_file), false},
    {"--drain-seconds", "TIDEWIRE_DRAIN_SECONDS", SECONDS(drain_seconds), false},
    {"--lame-duck-seconds", "TIDEWIRE_LAME_DUCK_SECONDS", SECONDS(lame_duck_seconds), false},
    {"--drain-jitter", "TIDEWIRE_DRAIN_JITTER", SECONDS(drain_jitter), false},
    {"--upgrade", NULL, FLAG(upgrade), false},
    {"--watch", NULL, FLAG(watch), false},
    {"--header", NULL, BY(add_header), true},
    {"--subprotocol", NULL, BY(add_subprotocol), true},
    {"--insecure", NULL, FLAG(insecure), true},
    {"--wait", NULL, BY(set_wait), true},
};
enum { OPTION_COUNT = sizeof options / sizeof options[0] };

/* `name`: of the option or of its environment variable. */
static bool set_option(struct settings *s, const struct option *option, const char *name,
                       const char *value) {
    void *field = (char *)s + option->field_at;
    switch (option->kind) {
    case OPTION_SECONDS:
        return set_seconds(field, name, value);
    case OPTION_FLAG:
        return set_flag(field, name, value);
    case OPTION_OTHER:
        return option->set(s, name, value);
    case OPTION_TEXT:
        break;
    }
    *(const char **)field = value;
    return true;
}

/* Complains about an unknown option, with a hint. `next`: the argument behind it, or NULL. */
static bool unknown_option(const char *given, const char *next) {
    char name[64]; /* without the value behind "=", or behind the letter of a short option */
    char text[640];
    size_t len = given[1] != '-' && given[1] != '\0' && given[2] != '\0' ? 2 : strcspn(given, "=");
    snprintf(name, sizeof name, "%.*s", (int)len, given);
    const char *value =
        given[strlen(name)] != '\0' ? given + strlen(name) + (given[len] == '=') : next;
    const char *hint = hints_for_option(name, value, text, sizeof text);
    struct nearest nearest = {NULL, 4};
    for (size_t i = 0; i < OPTION_COUNT; i++)
        hints_consider(&nearest, name, options[i].name);
    hints_consider(&nearest, name, "--version");
    hints_consider(&nearest, name, "--help");
    if (hint == NULL && nearest.name != NULL) {
        snprintf(text, sizeof text, "did you mean %s?", nearest.name);
        hint = text;
    }
    fprintf(stderr, "tidewire: unknown option %s%s%s (tidewire --help lists all)\n",
            given[1] == '-' ? name : given, hint == NULL ? "" : "; ", hint == NULL ? "" : hint);
    return false;
}

/* ---- reading ---- */

static bool read_environment(struct settings *s) {
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const char *value = options[i].variable == NULL ? NULL : getenv(options[i].variable);
        if (value != NULL && *value != '\0' &&
            !set_option(s, &options[i], options[i].variable, value))
            return false;
    }
    return true;
}

/* Reads the option argv[*at], with its value behind "=" or in the next argument. */
static bool read_option(struct settings *s, int argc, char **argv, int *at) {
    const char *given = argv[*at], *equals = strchr(given, '=');
    size_t len = equals == NULL ? strlen(given) : (size_t)(equals - given);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *option = &options[i];
        if (strlen(option->name) != len || strncmp(option->name, given, len) != 0)
            continue;
        const char *value = equals == NULL ? NULL : equals + 1;
        if (option->kind != OPTION_FLAG && value == NULL) {
            if (*at + 1 >= argc) {
                fprintf(stderr, "tidewire: %s needs a value\n", option->name);
                return false;
            }
            value = argv[++*at];
        }
        s->seen[option->of_talk] = option->name;
        return set_option(s, option, option->name, value);
    }
    const char *next = *at + 1 < argc && argv[*at + 1][0] != '-' ? argv[*at + 1] : NULL;
    return unknown_option(given, next);
}

static const struct {
    const char *word;
    enum settings_action action;
} commands[] = {
    {"run", ACTION_RUN},         {"check", ACTION_CHECK}, {"new", ACTION_NEW},
    {"reload", ACTION_RELOAD},   {"talk", ACTION_TALK},   {"help", ACTION_HELP},
    {"version", ACTION_VERSION},
};

/* Reads an argument that is no option: a command, if it is the first one, or the target. */
static bool read_argument(struct settings *s, const char *word) {
    for (size_t i = 0;
         s->target == NULL && !s->has_command && i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(word, commands[i].word) == 0) {
            s->has_command = true;
            s->action = commands[i].action;
            return true;
        }
    }
    if (s->target == NULL) {
        s->target = word;
        return true;
    }
    char text[512];
    const char *hint = NULL;
    if (word[strspn(word, "0123456789")] == '\0') {
        snprintf(text, sizeof text, "did you mean --listen 127.0.0.1:%s?", word);
        hint = text;
    } else if (!s->has_command) {
        hint = hints_for_command(s->target, word, text, sizeof text);
    }
    const char *what = s->action == ACTION_TALK ? "URL" : s->action == ACTION_NEW ? "DIR" : "FILE";
    fprintf(stderr, "tidewire: one %s is enough, got \"%s\" and \"%s\"%s%s\n", what, s->target,
            word, hint == NULL ? "" : "; ", hint == NULL ? "" : hint);
    return false;
}

/* ---- the script ---- */

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

/* The target is a directory: the script is its app.lua. */
static bool use_folder(struct settings *s) {
    size_t len = strlen(s->target);
    while (len > 1 && s->target[len - 1] == '/')
        len--;
    bool is_here = len == 1 && s->target[0] == '.', is_root = len == 1 && s->target[0] == '/';
    size_t room = len + sizeof "/app.lua";
    s->app_file = mem_alloc(room);
    snprintf(s->app_file, room, "%.*s%sapp.lua", is_here ? 0 : (int)len, s->target,
             is_here || is_root ? "" : "/");
    if (!exists(s->app_file)) {
        fprintf(stderr,
                "tidewire: the folder \"%s\" has no app.lua: name the script in it, or make an app "
                "with tidewire new DIR\n",
                s->target);
        return false;
    }
    s->target = s->app_file;
    return true;
}

/* The script is the target, app.lua of the directory that is the target, or, without a target,
 * app.lua of the working directory. */
static bool find_script(struct settings *s) {
    char text[512];
    if (s->target == NULL && s->action == ACTION_RUN && exists("app.lua")) {
        s->target = "app.lua";
        return true;
    }
    if (s->target == NULL) {
        fprintf(stderr, "tidewire: %s (see tidewire --help)\n",
                s->action == ACTION_CHECK
                    ? "check needs a file: tidewire check FILE"
                    : "a script is needed: tidewire FILE; there is no app.lua in this folder, and "
                      "tidewire new DIR makes one");
        return false;
    }
    if (is_folder(s->target))
        return use_folder(s);
    snprintf(text, sizeof text, "%s.lua", s->target);
    if (!exists(s->target) && exists(text)) {
        fprintf(stderr, "tidewire: there is no file \"%s\"; did you mean %s?\n", s->target, text);
        return false;
    }
    bool is_word = strpbrk(s->target, "/.") == NULL && !exists(s->target);
    const char *hint =
        is_word && !s->has_command ? hints_for_command(s->target, NULL, text, sizeof text) : NULL;
    if (hint != NULL)
        fprintf(stderr, "tidewire: \"%s\" is neither a file nor a command; %s\n", s->target, hint);
    return hint == NULL;
}

/* Options that restrict each other. */
static bool check_together(const struct settings *s) {
    if (s->drain_jitter > s->drain_seconds) {
        fprintf(stderr,
                "tidewire: --drain-jitter: expected at most the %g seconds of "
                "--drain-seconds, got %g\n",
                s->drain_seconds, s->drain_jitter);
        return false;
    }
    if (s->upgrade && s->pid_file == NULL) {
        fprintf(stderr,
                "tidewire: --upgrade needs --pid-file FILE, the pid file of the running process\n");
        return false;
    }
    return true;
}

/* No option of another command was given. */
static bool check_seen(const struct settings *s) {
    const char *foreign = s->seen[s->action != ACTION_TALK];
    if (foreign != NULL)
        fprintf(stderr, "tidewire: %s is an option of %s\n", foreign,
                s->action == ACTION_TALK ? "the server, not of tidewire talk"
                                         : "tidewire talk URL");
    return foreign == NULL;
}

static bool check_reload(const struct settings *s) {
    bool good = s->target == NULL && s->pid_file != NULL;
    if (!good)
        fprintf(stderr, "tidewire: reload needs the running server's pid file, and nothing else: "
                        "tidewire reload --pid-file FILE\n");
    return good;
}

bool settings_read(struct settings *settings, int argc, char **argv) {
    *settings = (struct settings){
        .log_level = LOG_INFO, .log_format = LOG_AUTO, .drain_seconds = 10, .wait_seconds = 1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--version") == 0 || strcmp(argv[i], "-v") == 0 ||
            (i == 1 && strcmp(argv[i], "version") == 0)) {
            settings->action = ACTION_VERSION;
            return true;
        }
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0 ||
            (i == 1 && strcmp(argv[i], "help") == 0)) {
            settings->action = ACTION_HELP;
            return true;
        }
    }
    if (!read_environment(settings))
        return false;
    for (int i = 1; i < argc; i++) {
        bool is_option = argv[i][0] == '-' && argv[i][1] != '\0';
        if (is_option ? !read_option(settings, argc, argv, &i) : !read_argument(settings, argv[i]))
            return false;
    }
    if (settings->action == ACTION_RELOAD)
        return check_reload(settings);
    if (settings->action == ACTION_HELP || settings->action == ACTION_VERSION)
        return true;
    if (!check_seen(settings))
        return false;
    if (settings->action == ACTION_TALK && settings->target == NULL) {
        fprintf(stderr, "tidewire: talk needs an address: tidewire talk ws://127.0.0.1:8080/\n");
        return false;
    }
    if (settings->action == ACTION_NEW && settings->target == NULL) {
        fprintf(stderr, "tidewire: new needs a folder: tidewire new DIR (see tidewire --help)\n");
        return false;
    }
    if (settings->action != ACTION_NEW && settings->action != ACTION_TALK && !find_script(settings))
        return false;
    return check_together(settings);
}

void settings_close(struct settings *settings) {
    mem_free(settings->listen);
    mem_free(settings->app_file);
    mem_free(settings->headers.texts);
    mem_free(settings->subprotocols.texts);
}

struct vm_command_line settings_command_line(const struct settings *settings) {
    return (struct vm_command_line){
        .listen = settings->listen,
        .listen_count = settings->listen_count,
        .workers = settings->workers,
        .admin = settings->admin,
        .tls_certificate = settings->tls_certificate,
        .tls_key = settings->tls_key,
    };
}
