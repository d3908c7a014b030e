/* bindings.h -- the bindings, for vm_new(). No Lua in it, so that the server may include it. */
#ifndef TIDEWIRE_SCRIPT_BIND_BINDINGS_H
#define TIDEWIRE_SCRIPT_BIND_BINDINGS_H

#include "script/vm/vm.h"

/* bind.c */
extern const struct vm_bindings bindings;

#endif
