/* app_file.h -- by which name the app's file is read, now and at each reload. */
#ifndef TIDEWIRE_SERVER_APP_FILE_H
#define TIDEWIRE_SERVER_APP_FILE_H

/* The name under which the file is to be asked for as long as the process runs: `file` itself, or,
 * where the working folder was entered through a symbolic link, that link's path with `file` behind
 * it. A new string. */
char *app_file_name(const char *file);

/* Warns where `file` cannot be found any more, because the working folder that it is relative to
 * was deleted. */
void app_file_check(const char *file);

#endif
