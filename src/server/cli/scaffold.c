/* scaffold.c -- `tidewire new DIR`. See scaffold.h.
 *
 * Writes the files of lua/templates, which the build embeds in the binary. Overwrites no file. */
#include "server/cli/scaffold.h"

#include "script/vm/embedded.h"
#include "server/server.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static bool is_empty(const char *folder) {
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return false;
    int entries = 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            entries++;
    closedir(dir);
    return entries == 0;
}

/* Makes the directories of a file. */
static bool make_parents(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int result = mkdir(path, 0777);
        *slash = '/';
        if (result != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

static bool write_file(const char *folder, const struct embedded_file *file) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", folder, file->name) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return false;
    }
    if (!make_parents(path))
        return false;
    FILE *out = fopen(path, "wx");
    if (out == NULL)
        return false;
    bool written = fwrite(file->bytes, 1, file->size, out) == file->size;
    return fclose(out) == 0 && written;
}

/* Prints a word so that a shell reads it as one. */
static void print_word(const char *word) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "_-./+,:@%";
    if (*word != '\0' && word[strspn(word, plain)] == '\0') {
        fputs(word, stdout);
        return;
    }
    putchar('\'');
    for (; *word != '\0'; word++)
        fputs(*word == '\'' ? "'\\''" : (char[]){*word, '\0'}, stdout);
    putchar('\'');
}

/* Prints the next commands, for the same working directory. */
static void print_next(const char *folder, const char *program) {
    fputs("\nRun it:   ", stdout);
    print_word(program);
    fputs(" run ", stdout);
    print_word(folder);
    fputs("\n          then open http://127.0.0.1:8080/\nTest it:  cd ", stdout);
    print_word(folder);
    fputs(" && busted\n", stdout);
}

int scaffold_write(const char *folder, const char *program) {
    if (mkdir(folder, 0777) != 0 && (errno != EEXIST || !is_empty(folder))) {
        fprintf(stderr, "tidewire: new: %s: %s\n", folder,
                errno == EEXIST ? "exists and is not empty; choose another folder"
                                : strerror(errno));
        return EXIT_USAGE;
    }
    for (const struct embedded_file *file = embedded_templates; file->name != NULL; file++) {
        if (!write_file(folder, file)) {
            fprintf(stderr, "tidewire: new: %s/%s: %s\n", folder, file->name, strerror(errno));
            return EXIT_FAILED;
        }
        printf("wrote %s/%s\n", folder, file->name);
    }
    print_next(folder, program);
    return EXIT_CLEAN;
}
