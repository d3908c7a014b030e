/* hints.c -- suggestions for an unknown option or command. See hints.h. */
#include "server/hints.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* ---- nearest names ---- */

/* Damerau-Levenshtein distance of short words: a swap of neighbours counts as one change. */
static size_t distance(const char *a, const char *b) {
    enum { LONGEST = 64 };
    size_t rows[3][LONGEST], len = strlen(b);
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    if (len >= LONGEST)
        return LONGEST;
    for (size_t j = 0; j <= len; j++)
        last[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        row[0] = i;
        for (size_t j = 1; j <= len; j++) {
            size_t least = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < least)
                least = last[j] + 1;
            if (row[j - 1] + 1 < least)
                least = row[j - 1] + 1;
            bool is_swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (is_swap && before[j - 2] + 1 < least)
                least = before[j - 2] + 1;
            row[j] = least;
        }
        size_t *oldest = before;
        before = last;
        last = row;
        row = oldest;
    }
    return last[len];
}

void hints_consider(struct nearest *nearest, const char *word, const char *name) {
    size_t d = distance(word, name);
    if (d < nearest->distance) {
        nearest->distance = d;
        nearest->name = name;
    }
}

/* Is the word one of these names, which are separated by spaces? */
static bool is_one_of(const char *word, const char *names) {
    size_t len = strlen(word);
    for (const char *at = names; len > 0 && (at = strstr(at, word)) != NULL; at += len)
        if ((at == names || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
            return true;
    return false;
}

/* ---- other servers' options ---- */

/* Options that Tidewire has under another name. `%s` is the given value, or `otherwise`. */
static const struct {
    const char *names, *ours, *otherwise;
} renamed_options[] = {
    {"--port -p --http-port -P", "--listen 127.0.0.1:%s", "8080"},
    {"--host --hostname --bind --address --addr --ip --interface -b -H -a -l", "--listen %s:8080",
     "127.0.0.1"},
    {"--socket --unix --unix-socket", "--listen unix:%s", "/run/app.sock"},
    {"--cert --certificate --ssl-cert --ssl-certificate --tls-cert --certfile",
     "--tls-certificate %s", "FILE"},
    {"--key --ssl-key --private-key --keyfile", "--tls-key %s", "FILE"},
    {"--threads --processes --jobs --cluster -w -t -j -n", "--workers %s", "N"},
    {"--verbose --debug --trace -vv -d", "--log-level debug", ""},
    {"--quiet --silent -q", "--log-level warn", ""},
    {"--reload --hot --hot-reload --dev --live --auto-reload -r", "--watch", ""},
    {"--log --logfile --log-path", "--log-file %s", "FILE"},
    {"--pid", "--pid-file %s", "FILE"},
    {"-V", "--version", ""},
    {"-?", "--help", ""},
};

/* Options that Tidewire has not, and what to do instead. */
static const struct {
    const char *names, *text;
} explanations[] = {
    {"--daemon --daemonize --background --detach -D",
     "it stays in the foreground: let a service manager start it (docs/operating.md)"},
    {"--config --conf -c -f --file",
     "the script itself has the settings, and is given without an option: tidewire FILE"},
    {"--eval --execute -e", "a script is a file: tidewire FILE"},
};

const char *hints_for_option(const char *option, const char *value, char *text, size_t size) {
    size_t count = sizeof renamed_options / sizeof renamed_options[0];
    for (size_t i = 0; i < count; i++) {
        if (!is_one_of(option, renamed_options[i].names))
            continue;
        char ours[512];
        const char *given = value == NULL ? renamed_options[i].otherwise : value;
        const char *percent = strstr(renamed_options[i].ours, "%s");
        int head = (int)(percent == NULL ? strlen(renamed_options[i].ours)
                                         : (size_t)(percent - renamed_options[i].ours));
        snprintf(ours, sizeof ours, "%.*s%s%s", head, renamed_options[i].ours,
                 percent == NULL ? "" : given, percent == NULL ? "" : percent + 2);
        snprintf(text, size, "did you mean %s?", ours);
        return text;
    }
    for (size_t i = 0; i < sizeof explanations / sizeof explanations[0]; i++)
        if (is_one_of(option, explanations[i].names)) {
            snprintf(text, size, "%s", explanations[i].text);
            return text;
        }
    return NULL;
}

/* ---- commands ---- */

/* Tidewire's commands with their argument, and the names that other programs give them. */
static const struct {
    const char *name, *takes, *others;
} commands[] = {
    {"run", "FILE", "start serve server up dev launch exec open"},
    {"check", "FILE", "lint validate verify test-config configtest"},
    {"new", "DIR", "init create scaffold generate make"},
    {"reload", "--pid-file FILE", "restart refresh hup"},
    {"talk", "URL", "connect client wscat websocat chat"},
    {"help", "", "usage man"},
    {"version", "", "ver"},
};

/* Commands that Tidewire has not, and what to do instead. */
static const struct {
    const char *names, *text;
} explained_commands[] = {
    {"stop quit kill shutdown down",
     "a running server ends on SIGTERM or Ctrl-C: kill \"$(cat FILE)\" with its --pid-file FILE"},
    {"test spec", "specs run with busted, in the app's folder"},
    {"status ps", "/stats and /healthz show the state of a running server: --admin ADDR"},
    {"install build", "an app needs neither: tidewire FILE runs it"},
};

const char *hints_for_command(const char *word, const char *rest, char *text, size_t size) {
    struct nearest nearest = {NULL, strlen(word) <= 3 ? 2 : 3};
    const char *takes = "";
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const char *name = commands[i].name;
        if (is_one_of(word, commands[i].others))
            nearest = (struct nearest){name, 0};
        else
            hints_consider(&nearest, word, name);
        if (nearest.name == name)
            takes = commands[i].takes;
    }
    for (size_t i = 0; i < sizeof explained_commands / sizeof explained_commands[0]; i++)
        if (nearest.distance > 0 && is_one_of(word, explained_commands[i].names)) {
            snprintf(text, size, "%s", explained_commands[i].text);
            return text;
        }
    if (nearest.name == NULL)
        return NULL;
    const char *argument = rest != NULL && takes[0] != '\0' && takes[0] != '-' ? rest : takes;
    snprintf(text, size, "did you mean tidewire %s%s%s?", nearest.name,
             argument[0] == '\0' ? "" : " ", argument);
    return text;
}
