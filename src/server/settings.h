/* settings.h -- what the command line and the environment say of the process itself.
 *
 * Listen addresses, workers, the admin address and the files of TLS are only carried: they
 * become settings together with the app's own (app.lua). Read once by main. */
#ifndef TIDEWIRE_SERVER_SETTINGS_H
#define TIDEWIRE_SERVER_SETTINGS_H

#include "base/log/log.h"
#include "script/vm/vm.h"

#include <stdbool.h>
#include <stddef.h>

enum settings_action {
    ACTION_RUN,
    ACTION_CHECK,
    ACTION_NEW,
    ACTION_RELOAD,
    ACTION_TALK,
    ACTION_VERSION,
    ACTION_HELP
};

/* Values of an option that may be given again. */
struct settings_list {
    const char **texts;
    size_t count;
};

struct settings {
    enum settings_action action;
    const char *target;  /* FILE, DIR or URL */
    char *app_file;      /* the target, where a folder was named */
    const char *seen[2]; /* an option that was given: of the server, of talk */
    bool has_command;    /* a word such as "check" stands before it */
    const char **listen;
    size_t listen_count;
    const char *workers, *admin, *tls_certificate, *tls_key, *log_file, *pid_file;
    enum log_level log_level;
    enum log_format log_format;
    double drain_seconds, lame_duck_seconds, drain_jitter;
    bool upgrade; /* take over from the process of pid_file */
    bool watch;
    struct settings_list headers, subprotocols; /* of talk, as are those below */
    bool insecure, has_wait;
    double wait_seconds;
};

/* Reads both. False, after a message on stderr that says what to do, when they cannot be used. */
bool settings_read(struct settings *settings, int argc, char **argv);
void settings_close(struct settings *settings);
/* What it says of the app; borrowed from the settings. */
struct vm_command_line settings_command_line(const struct settings *settings);

/* The text of --help. */
extern const char settings_help[];

#endif
