/* main.c -- the program: runs the command of the command line, and returns its exit code. */
#include "server/check.h"
#include "server/cli/cluster_check.h"
#include "server/cli/control_client.h"
#include "server/cli/scaffold.h"
#include "server/cli/talk.h"
#include "server/resources.h"
#include "server/server.h"
#include "server/standard_streams.h"
#include "tidewire_version.h"

#include <stdio.h>

static int run_command(const struct settings *settings, const char *program) {
    switch (settings->action) {
    case ACTION_VERSION:
        printf("tidewire %s\n", TIDEWIRE_VERSION);
        return EXIT_CLEAN;
    case ACTION_HELP:
        fputs(settings->help, stdout);
        return EXIT_CLEAN;
    case ACTION_CHECK:
        return check_run(settings);
    case ACTION_NEW:
        return scaffold_write(settings->target, program);
    case ACTION_TALK:
        return talk_run(settings);
    case ACTION_CLUSTER:
        return cluster_check_run(settings);
    case ACTION_RELOAD:
        return control_client_reload(settings->pid_file);
    case ACTION_RUN:
        break;
    }
    int code = server_run(settings);
    if (!standard_streams_flush())
        standard_streams_exit(code);
    return code;
}

int main(int argc, char **argv) {
    if (!standard_streams_reserve())
        return EXIT_FAILED;
    resources_replace_uv_allocator();
    struct settings settings;
    int code = settings_read(&settings, argc, argv)
                   ? run_command(&settings, argc > 0 ? argv[0] : "tidewire")
                   : EXIT_USAGE;
    settings_close(&settings);
    return code;
}
