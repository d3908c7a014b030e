/* privileges.c -- the user and group as which the process runs. See privileges.h. */
#include "base/privileges.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { NAME_BYTES = 256 };

/* What privileges_take() has taken; root's rights are the saved ones of the process. */
static struct {
    bool taken;
    uid_t uid;
    gid_t gid;
} user;

/* A number such as an id, without sign and spaces; (uid_t)-1 is none. */
static bool read_id(const char *text, unsigned *id) {
    if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0')
        return false;
    errno = 0;
    unsigned long number = strtoul(text, NULL, 10);
    *id = (unsigned)number;
    return errno == 0 && number < UINT_MAX;
}

/* The ids of NAME[:GROUP], and the user's name for its other groups; "" if it has none. */
static bool find(const char *text, char name[NAME_BYTES], const struct error_text *problem) {
    const char *colon = strchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : strlen(text);
    unsigned id;
    if (len == 0 || len >= NAME_BYTES)
        return error_text_fail(problem, "--user %s: expected NAME or NAME:GROUP", text);
    memcpy(name, text, len);
    name[len] = '\0';
    const struct passwd *entry = getpwnam(name);
    bool is_number = entry == NULL && read_id(name, &id);
    if (is_number)
        entry = getpwuid((uid_t)id);
    if (entry == NULL && (!is_number || colon == NULL))
        return error_text_fail(problem, "--user %s: there is no user \"%s\"%s", text, name,
                               is_number ? "; a number needs a group, as in 1000:1000" : "");
    user.uid = entry != NULL ? entry->pw_uid : (uid_t)id;
    user.gid = entry != NULL ? entry->pw_gid : 0;
    snprintf(name, NAME_BYTES, "%s", entry != NULL ? entry->pw_name : "");
    if (colon == NULL)
        return true;
    const struct group *group = getgrnam(colon + 1);
    if (group == NULL && !read_id(colon + 1, &id))
        return error_text_fail(problem, "--user %s: there is no group \"%s\"", text, colon + 1);
    user.gid = group != NULL ? group->gr_gid : (gid_t)id;
    return true;
}

static bool cannot(const char *what, const struct error_text *problem) {
    return error_text_fail(problem, "--user: %s: %s", what, strerror(errno));
}

bool privileges_take(const char *text, const struct error_text *problem) {
    char name[NAME_BYTES];
    if (!find(text, name, problem))
        return false;
    if (geteuid() != 0) {
        if (geteuid() == user.uid && getegid() == user.gid)
            return true;
        return error_text_fail(problem,
                               "--user %s: only root can start the server for another user", text);
    }
    if (user.uid == 0)
        return error_text_fail(problem, "--user %s: root's rights would not be given up", text);
    if ((name[0] != '\0' ? initgroups(name, user.gid) : setgroups(1, &user.gid)) != 0)
        return cannot("cannot take the user's groups", problem);
    if (setresgid(user.gid, user.gid, 0) != 0 || setresuid(user.uid, user.uid, 0) != 0)
        return cannot("cannot take the user's rights", problem);
    /* of this thread, and of those that it will start */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return cannot("cannot forbid new rights", problem);
    user.taken = true;
    return true;
}

bool privileges_raise(void) {
    return user.taken && seteuid(0) == 0;
}

/* A process that kept root's rights by mistake would go on with them: it ends instead. */
void privileges_lower(void) {
    if (user.taken && seteuid(user.uid) != 0)
        abort();
}

bool privileges_drop(const struct error_text *problem) {
    if (!user.taken)
        return true;
    user.taken = false;
    if (seteuid(0) != 0 || setresgid(user.gid, user.gid, user.gid) != 0 ||
        setresuid(user.uid, user.uid, user.uid) != 0)
        return cannot("cannot give root's rights up", problem);
    if (setresuid(-1, 0, -1) == 0 || setresgid(-1, 0, -1) == 0) {
        errno = EPERM;
        return cannot("root's rights came back", problem);
    }
    /* the change of rights has forbidden core dumps, and the reading of /proc/self */
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return true;
}
