/* embedded_file.h -- a file that is part of the binary.
 *
 * The build writes tables of them (cmake/TidewireEmbed.cmake); each ends with an entry whose name
 * is NULL. Read-only, any thread. */
#ifndef TIDEWIRE_BASE_EMBEDDED_FILE_H
#define TIDEWIRE_BASE_EMBEDDED_FILE_H

#include <stddef.h>

struct embedded_file {
    const char *name;      /* of a module, "tidewire.json", or the path of a template, "app.lua" */
    const char *chunkname; /* as in a traceback, "@lua/tidewire/json.lua" */
    const unsigned char *bytes;
    size_t size; /* without the NUL that follows the bytes */
};

#endif
