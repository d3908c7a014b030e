/* embedded.h -- the files that are part of the binary.
 *
 * The build writes three tables of them: the Lua library (every lua/tidewire/ file), the templates
 * that `tidewire new` copies (lua/templates/), and the JavaScript client (the small forms of
 * clients/js/). Read-only, so any thread may use them; they know nothing of Lua. */
#ifndef TIDEWIRE_SCRIPT_VM_EMBEDDED_H
#define TIDEWIRE_SCRIPT_VM_EMBEDDED_H

#include <stddef.h>

struct embedded_file {
    const char *name;      /* of a module, "tidewire.json", or the path of a template, "app.lua" */
    const char *chunkname; /* as in a traceback, "@lua/tidewire/json.lua" */
    const unsigned char *bytes;
    size_t size; /* without the NUL that follows the bytes */
};

/* Each ends with an entry whose name is NULL. */
extern const struct embedded_file embedded_files[];
extern const struct embedded_file embedded_templates[];
extern const struct embedded_file embedded_client[];

#endif
