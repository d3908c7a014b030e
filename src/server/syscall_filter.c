/* syscall_filter.c -- the system calls that the process may not make. See syscall_filter.h. */
#include "server/syscall_filter.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* By name, because not every system has each of them. */
static const char *const denied[] = {
    /* the kernel's code, and what observes it */
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "bpf",
    "perf_event_open", "lookup_dcookie", "syslog",
    /* mounts and namespaces */
    "mount", "umount", "umount2", "pivot_root", "chroot", "fsopen", "fsmount", "fsconfig", "fspick",
    "move_mount", "open_tree", "mount_setattr", "unshare", "setns", "open_by_handle_at",
    /* other processes */
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
    /* the machine */
    "reboot", "swapon", "swapoff", "sethostname", "setdomainname", "settimeofday", "stime",
    "clock_settime", "clock_settime64", "clock_adjtime", "clock_adjtime64", "adjtimex", "acct",
    "quotactl", "quotactl_fd", "iopl", "ioperm", "vhangup", "nfsservctl",
    /* keys of the kernel */
    "add_key", "request_key", "keyctl",
    /* parts of the kernel that had many faults, and obsolete ones. Loops of libuv that have an
     * io_uring already must go on with it; later ones do without. */
    "userfaultfd", "io_uring_setup", "modify_ldt", "personality", "move_pages", "migrate_pages",
    "uselib", "ustat", "sysfs", "_sysctl"};

/* Flags of clone(2) that make a namespace. */
static const scmp_datum_t namespaces[] = {CLONE_NEWNS,  CLONE_NEWCGROUP, CLONE_NEWUTS,
                                          CLONE_NEWIPC, CLONE_NEWUSER,   CLONE_NEWPID,
                                          CLONE_NEWNET};

/* Requests of ioctl(2) that type into a terminal. */
static const scmp_datum_t terminal[] = {TIOCSTI, TIOCLINUX};

static int deny_calls(scmp_filter_ctx filter) {
    int result = 0;
    for (size_t i = 0; i < sizeof denied / sizeof denied[0] && result == 0; i++) {
        int number = seccomp_syscall_resolve_name(denied[i]);
        if (number >= 0)
            result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0);
    }
    return result;
}

/* Programs that find no clone3(2), whose flags are out of a filter's reach, use clone(2). */
static int deny_namespaces(scmp_filter_ctx filter) {
    int result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    for (size_t i = 0; i < sizeof namespaces / sizeof namespaces[0] && result == 0; i++)
        result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                  SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces[i], namespaces[i]));
    return result;
}

/* Sockets are of the families that servers and the look-up of names use. */
static int deny_families(scmp_filter_ctx filter) {
    int result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                                  SCMP_A0_32(SCMP_CMP_GT, AF_NETLINK));
    for (unsigned family = 0; family < AF_NETLINK && result == 0; family++)
        if (family != AF_UNIX && family != AF_INET && family != AF_INET6)
            result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                                      SCMP_A0_32(SCMP_CMP_EQ, family));
    return result;
}

static int deny_terminal(scmp_filter_ctx filter) {
    int result = 0;
    for (size_t i = 0; i < sizeof terminal / sizeof terminal[0] && result == 0; i++)
        result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
                                  SCMP_A1_32(SCMP_CMP_EQ, (unsigned)terminal[i]));
    return result;
}

bool syscall_filter_install(const struct error_text *problem) {
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (filter == NULL)
        return error_text_fail(problem, "--seccomp: there is no memory for the filter");
    int result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    /* calls of another architecture, such as those of 32-bit programs */
    if (result == 0)
        result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
    if (result == 0)
        result = deny_calls(filter);
    if (result == 0)
        result = deny_namespaces(filter);
    if (result == 0)
        result = deny_families(filter);
    if (result == 0)
        result = deny_terminal(filter);
    if (result == 0)
        result = seccomp_load(filter);
    seccomp_release(filter);
    if (result != 0)
        return error_text_fail(problem, "--seccomp: the kernel does not take the filter: %s",
                               strerror(-result));
    return true;
}
