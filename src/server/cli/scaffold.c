/* scaffold.c -- `tidewire new DIR`. See scaffold.h. */
#include "server/cli/scaffold.h"

#include "script/vm/library.h"
#include "server/server.h"

#include <stdlib.h>

int scaffold_write(const char *folder, const char *program) {
    char code[8];
    library_call("tidewire.cli.new", folder, program, code, sizeof code);
    return code[0] == '\0' ? EXIT_FAILED : atoi(code);
}
