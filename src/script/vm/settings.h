/* settings.h -- the settings of the process itself, from the command line and the environment.
 *
 * Listen addresses, workers, the admin address, proxies and the files of TLS are only passed on:
 * app.lua combines them with the app's own. main.c reads the settings once. */
#ifndef TIDEWIRE_SCRIPT_VM_SETTINGS_H
#define TIDEWIRE_SCRIPT_VM_SETTINGS_H

#include "base/log/log.h"

#include <stdbool.h>
#include <stddef.h>

enum settings_action {
    ACTION_RUN,
    ACTION_CHECK,
    ACTION_NEW,
    ACTION_RELOAD,
    ACTION_TALK,
    ACTION_CLUSTER,
    ACTION_VERSION,
    ACTION_HELP
};

/* The values of a repeatable option. */
struct settings_list {
    const char **texts;
    size_t count;
};

struct settings {
    enum settings_action action;
    const char *help;   /* the text of --help */
    const char *target; /* FILE, DIR or URL; NULL: none was given */
    struct settings_list listen;
    const char *workers, *admin, *state_file, *cluster, *admin_hosts, *tls_certificate, *tls_key,
        *log_file, *pid_file;
    const char *user; /* NAME[:GROUP]; NULL: the process keeps its own */
    bool seccomp;     /* confine the process */
    const char *trusted_proxies;
    bool proxy_protocol;
    enum log_level log_level;
    enum log_format log_format;
    double drain_seconds, lame_duck_seconds, drain_jitter;
    bool upgrade; /* replace the process of pid_file */
    bool watch;
    struct settings_list headers, subprotocols; /* of talk, as the fields below */
    bool insecure;
    double wait_seconds;       /* negative: not given */
    struct settings_list urls; /* of cluster check, as the fields below */
    const char *prefix;        /* NULL: not given */
    bool json;
    /* private */
    struct lua_State *state;
};

/* Reads both. False, after a message on stderr that says what to do, when they are wrong. */
bool settings_read(struct settings *settings, int argc, char **argv);
void settings_close(struct settings *settings);

#endif
