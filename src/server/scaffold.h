/* scaffold.h -- `tidewire new DIR`: a small app that runs, with a spec that passes. */
#ifndef TIDEWIRE_SERVER_SCAFFOLD_H
#define TIDEWIRE_SERVER_SCAFFOLD_H

/* Writes the templates into a new or empty folder and says what to do next. Returns the exit code. */
int scaffold_write(const char *folder);

#endif
