/* scaffold.h -- `tidewire new DIR`: a small app that runs, with a spec that passes. */
#ifndef TIDEWIRE_SERVER_CLI_SCAFFOLD_H
#define TIDEWIRE_SERVER_CLI_SCAFFOLD_H

/* Writes the templates into a new or empty folder and says what to do next. `program`: as it was
 * called, which is how it can be called again. Returns the exit code. */
int scaffold_write(const char *folder, const char *program);

#endif
