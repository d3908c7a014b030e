/* scaffold.h -- `tidewire new DIR`: a small app that runs, with a spec that passes. */
#ifndef TIDEWIRE_SERVER_CLI_SCAFFOLD_H
#define TIDEWIRE_SERVER_CLI_SCAFFOLD_H

/* Writes the templates into a new or empty directory, and prints how to run them. `program`: the
 * name under which Tidewire was called. Returns the exit code. */
int scaffold_write(const char *folder, const char *program);

#endif
