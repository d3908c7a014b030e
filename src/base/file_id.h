/* file_id.h -- the identity of a file: its name may lead to another file later.
 *
 * A plain value; owns nothing, any thread. The system may give the identity of a deleted file to a
 * new one: keep the file open to prevent that. */
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
