/* replay.c -- runs a fuzz target on files, where there is no libFuzzer: the corpus as a test, or an
 * input that has failed.
 *
 *   fuzz_NAME FILE|FOLDER…       options of libFuzzer have no effect
 *
 * Each input runs as it is, and once more for each of its beginnings up to 256 bytes and with each
 * of its first 256 bytes changed. A fault ends the program after the name of its file. */
#include "fuzz.h"

#include <dirent.h>
#include <sys/stat.h>

__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv) {
    return 0;
}

enum { VARIED = 256 };

static unsigned count;

static void run(const char *bytes, size_t len) {
    char *copy = fuzz_copy(bytes, len);
    LLVMFuzzerTestOneInput((const uint8_t *)copy, len);
    free(copy);
    count++;
}

/* Runs an input and its variations. */
static void run_all(char *bytes, size_t len) {
    run(bytes, len);
    for (size_t i = 0; i < len && i < VARIED; i++) {
        run(bytes, i);
        bytes[i] ^= (char)(1 << i % 8);
        run(bytes, len);
        bytes[i] ^= (char)(1 << i % 8);
    }
}

static bool read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return false;
    char *bytes = NULL;
    size_t len = 0, capacity = 0, n;
    do {
        if (capacity - len < 4096)
            bytes = realloc(bytes, capacity += 64 * 1024);
        n = fread(bytes + len, 1, capacity - len, file);
        len += n;
    } while (n > 0);
    fclose(file);
    fprintf(stderr, "%s\n", path);
    run_all(bytes, len);
    free(bytes);
    return true;
}

static bool replay(const char *path) {
    struct stat facts;
    if (stat(path, &facts) != 0)
        return false;
    if (!S_ISDIR(facts.st_mode))
        return read_file(path);
    struct dirent **names;
    int found = scandir(path, &names, NULL, alphasort);
    bool good = found >= 0;
    for (int i = 0; i < found; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            good = replay(name) && good;
        free(names[i]);
    }
    if (found >= 0)
        free(names);
    return good;
}

int main(int argc, char **argv) {
    LLVMFuzzerInitialize(&argc, &argv);
    bool good = argc > 1;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-' && !replay(argv[i])) {
            perror(argv[i]);
            good = false;
        }
    }
    fprintf(stderr, "%u inputs\n", count);
    return good && count > 0 ? 0 : 1;
}
