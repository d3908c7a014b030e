/* file_id.h -- the identity of a file: names may come to lead to another file.
 *
 * A plain value; owns nothing, any thread. A deleted file's identity may be given to a new one:
 * keep the file open where that must not happen. */
#ifndef TIDEWIRE_BASE_FILE_ID_H
#define TIDEWIRE_BASE_FILE_ID_H

#include <stdbool.h>
#include <sys/stat.h>

/* All zeros: no file. */
struct file_id {
    dev_t device;
    ino_t inode;
};

static inline struct file_id file_id_of(const struct stat *info) {
    return (struct file_id){info->st_dev, info->st_ino};
}

static inline bool file_id_equal(struct file_id a, struct file_id b) {
    return a.inode == b.inode && a.device == b.device;
}

#endif
