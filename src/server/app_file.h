/* app_file.h -- the path by which the app's file is loaded, at the start and at each reload. */
#ifndef TIDEWIRE_SERVER_APP_FILE_H
#define TIDEWIRE_SERVER_APP_FILE_H

/* The path of the file for as long as the process runs: `file` itself, or, where the shell entered
 * the working directory through a symbolic link, the path of that link and `file`. The caller frees
 * it. */
char *app_file_name(const char *file);

/* Warns when `file` is relative to a working directory that was deleted. */
void app_file_check(const char *file);

#endif
