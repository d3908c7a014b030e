/* embedded.h -- the tables of the files that are part of the binary.
 *
 * The build writes three of them: the Lua library (every lua/tidewire/ file), the templates that
 * `tidewire new` copies (lua/templates/), and the JavaScript client (the small forms of
 * clients/js/). Read-only, so any thread may use them; they know nothing of Lua. */
#ifndef TIDEWIRE_SCRIPT_VM_EMBEDDED_H
#define TIDEWIRE_SCRIPT_VM_EMBEDDED_H

#include "base/embedded_file.h"

extern const struct embedded_file embedded_files[];
extern const struct embedded_file embedded_templates[];
extern const struct embedded_file embedded_client[];

#endif
