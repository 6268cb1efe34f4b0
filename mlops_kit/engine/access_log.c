/* Log what a process, and every program that it starts, asks the file system for. Loaded by LD_PRELOAD (Linux).
 *
 * The functions of the C library that take a path are defined here again: each calls the real one and appends a record
 * to the log. No result is changed, nor errno. A record is NUL, kind, number, @, process, colon, name, NUL, in one
 * write. Its number says whether the thing was there (0 or 1); for programs it is a process.
 *
 *   r opened to read    w made (0); opened to write, moved, removed (1)    s stat, access    k lstat, readlink, realpath
 *   l listed            m library loaded          v variable         n connected to    u can't be followed
 *   x about to be executed by this process    f it could not be    y started as this process    p begins, observed
 *   t symbolic link made: the number is the length of its path, which where it leads to follows
 *   h this process observes itself from now on: what it asked for until then was on Python's own account
 *
 * Between fork and exec nothing here allocates or takes a lock. Not seen: what the C library does on its own account
 * (the dynamic loader, locales, the resolver), system calls that a program makes itself, statically linked programs,
 * setuid programs.
 */
#undef _FORTIFY_SOURCE /* its inline definitions would be in the way */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <limits.h>
#include <link.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#if __SIZEOF_POINTER__ != 8
#error "names with and without 64 are taken for the same"
#endif

#define HERE AT_FDCWD
#define LOG "MLOPS_ACCESS_LOG="
#define SKIP "MLOPS_ACCESS_SKIP="
#define PRELOAD "LD_PRELOAD="
#define FOLDERS "PYTHONPATH="
#define SLOTS (1 << 14)
#define MOST_VARIABLES 4096

static char log_variable[sizeof LOG + PATH_MAX] = LOG, skip_variable[sizeof SKIP + 4 * PATH_MAX] = SKIP;
static char *const log_path = log_variable + sizeof LOG - 1, *const skip = skip_variable + sizeof SKIP - 1;
static char library[PATH_MAX], working_folder[PATH_MAX];
static char startup[PATH_MAX + 8]; /* the folder beside the log whose sitecustomize.py Python processes are to execute */
static int begun, lost, activated, moved; /* moved: the working folder may have changed */
static int log_fd = -1;
static struct stat log_state;
static uintptr_t left_out_from, left_out_to; /* calls from these addresses don't count */
static uint64_t seen[SLOTS];

/* -- records ------------------------------------------------------------------------------------------------------- */

static int open_log(void) {
    int fd = syscall(SYS_openat, HERE, log_path, O_WRONLY | O_APPEND | O_CLOEXEC);
    int high = fd < 0 ? -1 : syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 700); /* out of the way of small numbers */
    if (high >= 0) syscall(SYS_close, fd);
    log_fd = high >= 0 ? high : fd;
    return log_fd >= 0 && !fstat(log_fd, &log_state);
}

/* Programs close descriptors that they don't know, and get the number again for a file of their own. */
static int log_is_open(void) {
    struct stat now;
    if (log_fd < 0 || fstat(log_fd, &now)) return open_log();
    if (now.st_ino != log_state.st_ino || now.st_dev != log_state.st_dev) return open_log();
    log_state.st_size = now.st_size;
    return 1;
}

static int fits(size_t length) { /* beyond the limit, a write would kill the process */
    struct rlimit limit;
    return !getrlimit(RLIMIT_FSIZE, &limit) && log_state.st_size + length <= limit.rlim_cur;
}

static size_t put_number(char *text, size_t used, unsigned number) {
    char digits[12];
    size_t count = 0;
    do digits[count++] = '0' + number % 10; while (number /= 10);
    while (count) text[used++] = digits[--count];
    return used;
}

static int append(char kind, unsigned number,
    const char *folder, const char *joint, const char *name, const char *more) {
    char head[40] = {0, kind};
    size_t used = put_number(head, 2, number);
    head[used++] = '@';
    used = put_number(head, used, getpid());
    head[used++] = ':';
    struct iovec parts[5] = {{head, used}};
    const char *texts[] = {folder, joint, name, more};
    size_t total = used + 1;
    for (int at = 0; at < 4; at++) {
        parts[at + 1] = (struct iovec){(char *)texts[at], strlen(texts[at])};
        total += parts[at + 1].iov_len;
    }
    parts[4].iov_len++; /* with its NUL */
    return log_is_open() && fits(total) && syscall(SYS_writev, log_fd, parts, 5) == (ssize_t)total;
}

static uint64_t hashed(uint64_t hash, const char *text) {
    size_t length = strlen(text);
    hash ^= length;
    for (uint64_t word; length; text += sizeof word, length -= length < sizeof word ? length : sizeof word) {
        word = 0;
        memcpy(&word, text, length < sizeof word ? length : sizeof word);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 32;
    }
    return hash;
}

/* Is folder/path this prefix, or below it? */
static int is_below(const char *prefix, size_t length, const char *folder, const char *path) {
    size_t front = strlen(folder);
    if (length <= front) return !strncmp(folder, prefix, length) && (folder[length] == '/' || !folder[length]);
    size_t rest = length - front - 1;
    if (strncmp(prefix, folder, front) || prefix[front] != '/' || strncmp(path, prefix + front + 1, rest)) return 0;
    return path[rest] == '/' || !path[rest];
}

static int is_skipped(const char *folder, const char *path) {
    if (strstr(path, "..")) return 0; /* may lead out of it again */
    if (is_below("/proc", 5, folder, path)) return 1;
    for (const char *prefix = skip; *prefix;) {
        size_t length = strcspn(prefix, ":");
        if (length && is_below(prefix, length, folder, path)) return 1;
        prefix += length + (prefix[length] == ':');
    }
    return 0;
}

/* Write a record once; returns 0 if its path is skipped. */
static int record(char kind, unsigned number, const char *folder, const char *joint, const char *name) {
    int process = strchr("xfyp", kind) != NULL;
    uint64_t hash = hashed(hashed(kind * 2 + (number & 1) + 1, folder), name), *slot = &seen[hash % SLOTS];
    if (!process && __atomic_load_n(slot, __ATOMIC_RELAXED) == hash) return 1;
    if (!process && *joint && is_skipped(folder, name)) return 0;
    if (lost && append('u', 0, "", "", "records were lost", "")) lost = 0;
    if (!append(kind, number, folder, joint, name, "")) lost = 1;
    else __atomic_store_n(slot, hash, __ATOMIC_RELAXED);
    return 1;
}

static int read_link(int folder, const char *link, char text[PATH_MAX]) {
#ifdef SYS_readlink /* sandboxes allow the older one */
    ssize_t length = folder == HERE ? syscall(SYS_readlink, link, text, PATH_MAX - 1) :
        syscall(SYS_readlinkat, folder, link, text, PATH_MAX - 1);
#else
    ssize_t length = syscall(SYS_readlinkat, folder, link, text, PATH_MAX - 1);
#endif
    text[length < 0 ? 0 : length] = 0;
    return length >= 0;
}

/* The link of /proc that says where a descriptor or the working folder is. */
static const char *place_of(int folder, char link[32]) {
    if (folder == HERE) return "/proc/self/cwd";
    snprintf(link, 32, "/proc/self/fd/%d", folder);
    return link;
}

__attribute__((noinline)) static int note_relative(char kind, unsigned number, int folder, const char *path) {
    char text[PATH_MAX], link[32];
    if (!read_link(HERE, place_of(folder, link), text)) return record('u', 0, "", "", *path ? path : link);
    if (text[0] != '/') return 1; /* a pipe, a socket */
    return *path ? record(kind, number, text + (text[1] == 0), "/", path) : record(kind, number, "", "/", text + 1);
}

/* Note a path, relative to a folder's descriptor; an empty one is what the descriptor stands for. */
__attribute__((noinline)) static int note(char kind, unsigned number, int folder, const char *path) {
    int error = errno, logged = 1;
    if (path && *path == '/') logged = record(kind, number, "", "/", path + 1);
    else if (path && *path && folder == HERE && !moved) logged = record(kind, number, working_folder, "/", path);
    else if (path && (*path || folder != HERE)) logged = note_relative(kind, number, folder, path);
    errno = error;
    return logged;
}

static void note_name(char kind, int found, const char *name) {
    int error = errno;
    record(kind, found, "", "", name);
    errno = error;
}

static int is_there(int folder, const char *path, int how) {
    int error = errno, there = !syscall(SYS_faccessat, folder, path, how);
    errno = error;
    return there;
}

/* -- beginning and end --------------------------------------------------------------------------------------------- */

/* Begin to log: also called in a fork of a process that was started without a log. Calls that come from these
 * addresses don't count. Returns whether the log can be written. */
int mlops_access_log(const char *path, const char *skipped, uintptr_t from, uintptr_t to) {
    int goes_on = *log_path != 0;
    const char *file = strrchr(path, '/');
    snprintf(log_path, PATH_MAX, "%s", path);
    snprintf(startup, sizeof startup, "%.*sstartup", file ? (int)(file + 1 - path) : 0, path);
    snprintf(skip, 4 * PATH_MAX, "%s", strlen(skipped) < 4 * PATH_MAX ? skipped : "");
    left_out_from = from, left_out_to = to, log_fd = -1, activated = !goes_on, begun = 1;
    memset(seen, 0, sizeof seen);
    moved = !read_link(HERE, "/proc/self/cwd", working_folder) || working_folder[0] != '/';
    if (!moved && !working_folder[1]) working_folder[0] = 0;
    return open_log() && (!goes_on || append('h', 0, "", "", "", ""));
}

static char *variable(const char *name) { /* with its "=" */
    for (char **entry = environ; entry && *entry; entry++)
        if (!strncmp(*entry, name, strlen(name))) return *entry + strlen(name);
    return NULL;
}

static void begin(void) { /* by the constructor, or by an earlier constructor of another library */
    int error = errno;
    Dl_info own;
    const char *path = variable(LOG), *skipped = variable(SKIP);
    begun = 1;
    if (dladdr(&log_state, &own) && own.dli_fname) snprintf(library, sizeof library, "%s", own.dli_fname);
    if (path) mlops_access_log(path, skipped ? skipped : "", 0, 0);
    activated = 0;
    errno = error;
}

static int counts(const void *caller) {
    if (!begun) begin();
    return *log_path && ((uintptr_t)caller < left_out_from || (uintptr_t)caller >= left_out_to);
}

struct hook { const char *name; void *real; };
extern struct hook __start_mlops_hooks[] __attribute__((visibility("hidden")));
extern struct hook __stop_mlops_hooks[] __attribute__((visibility("hidden")));

static void *next(struct hook *hook) {
    if (!hook->real) hook->real = dlsym(RTLD_NEXT, hook->name);
    return hook->real;
}

static int note_object(struct dl_phdr_info *object, size_t size, void *data) {
    (void)size, (void)data;
    if (object->dlpi_name[0] == '/' && strcmp(object->dlpi_name, library)) note('m', 1, HERE, object->dlpi_name);
    return 0;
}

__attribute__((constructor)) static void start(void) {
    char program[PATH_MAX];
    for (struct hook *hook = __start_mlops_hooks; hook < __stop_mlops_hooks; hook++) next(hook);
    dlerror(); /* of what this C library doesn't have */
    if (!counts(NULL)) return;
    if (read_link(HERE, "/proc/self/exe", program)) note('p', getpid(), HERE, program);
    dl_iterate_phdr(note_object, NULL);
}

__attribute__((destructor)) static void end(void) { /* a fork that was activated knows its libraries itself */
    if (*log_path && !activated) dl_iterate_phdr(note_object, NULL);
    if (lost) append('u', 0, "", "", "records were lost", "");
}

/* -- functions that look ------------------------------------------------------------------------------------------- */

#define HOOK(type, name, ...) \
    static struct hook hook_##name __attribute__((section("mlops_hooks"), used)) = {#name, NULL}; \
    type name(__VA_ARGS__)
#define NEXT(name) ((__typeof__(&name))next(&hook_##name))
#define ALIAS(other, name) __asm__(".globl " #other "\n.type " #other ", %function\n.set " #other ", " #name);
#define COUNTS counts(__builtin_return_address(0))
#define VALID(ok) ((ok) || (errno != EFAULT && errno != EBADF)) /* can the path be read? */
#define FOUND(ok) ((ok) || (errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG))

#define ASK(kind, type, ok, name, folder, path, args, ...) HOOK(type, name, __VA_ARGS__) { \
    type result = NEXT(name) args; \
    if (COUNTS && VALID(result ok)) note(kind, FOUND(result ok), folder, path); \
    return result; }
#define KIND (flags & AT_SYMLINK_NOFOLLOW ? 'k' : 's')

ASK('s', int, == 0, stat, HERE, path, (path, state), const char *path, struct stat *state)
ASK('k', int, == 0, lstat, HERE, path, (path, state), const char *path, struct stat *state)
ASK(KIND, int, == 0, fstatat, fd, path, (fd, path, state, flags),
    int fd, const char *path, struct stat *state, int flags)
#if __GLIBC_PREREQ(2, 28)
ASK(KIND, int, == 0, statx, fd, path, (fd, path, flags, mask, state),
    int fd, const char *path, int flags, unsigned mask, struct statx *state)
#endif
ASK('s', int, == 0, access, HERE, path, (path, mode), const char *path, int mode)
ASK('s', int, == 0, eaccess, HERE, path, (path, mode), const char *path, int mode)
ASK(KIND, int, == 0, faccessat, fd, path, (fd, path, mode, flags), int fd, const char *path, int mode, int flags)
ASK('k', ssize_t, >= 0, readlink, HERE, path, (path, text, room), const char *path, char *text, size_t room)
ASK('k', ssize_t, >= 0, readlinkat, fd, path, (fd, path, text, room),
    int fd, const char *path, char *text, size_t room)
ASK('k', char *, != NULL, realpath, HERE, path, (path, text), const char *path, char *text)
ASK('k', char *, != NULL, canonicalize_file_name, HERE, path, (path), const char *path)
ALIAS(stat64, stat) ALIAS(lstat64, lstat) ALIAS(fstatat64, fstatat) ALIAS(euidaccess, eaccess)
ALIAS(__readlink_chk, readlink) ALIAS(__readlinkat_chk, readlinkat) ALIAS(__realpath_chk, realpath)

/* programs and wheels that were built with a glibc before 2.33 */
ASK('s', int, == 0, __xstat, HERE, path, (version, path, state), int version, const char *path, struct stat *state)
ASK('k', int, == 0, __lxstat, HERE, path, (version, path, state), int version, const char *path, struct stat *state)
ASK(KIND, int, == 0, __fxstatat, fd, path, (version, fd, path, state, flags),
    int version, int fd, const char *path, struct stat *state, int flags)
ALIAS(__xstat64, __xstat) ALIAS(__lxstat64, __lxstat) ALIAS(__fxstatat64, __fxstatat)

typedef int sift(const struct dirent *), compare(const struct dirent **, const struct dirent **);
ASK('s', int, >= 0, inotify_add_watch, HERE, path, (fd, path, mask), int fd, const char *path, uint32_t mask)
ASK('l', DIR *, != NULL, opendir, HERE, path, (path), const char *path)
ASK('l', DIR *, != NULL, fdopendir, fd, "", (fd), int fd)
#if __GLIBC_PREREQ(2, 30)
ASK('l', ssize_t, >= 0, getdents64, fd, "", (fd, entries, room), int fd, void *entries, size_t room)
#endif
ASK('l', int, >= 0, scandir, HERE, path, (path, names, wanted, order),
    const char *path, struct dirent ***names, sift *wanted, compare *order)
ASK('l', int, >= 0, scandirat, fd, path, (fd, path, names, wanted, order),
    int fd, const char *path, struct dirent ***names, sift *wanted, compare *order)
ALIAS(scandir64, scandir) ALIAS(scandirat64, scandirat)

/* glob looks through functions that it is given: these */
HOOK(int, glob, const char *pattern, int flags, int (*failed)(const char *, int), glob_t *matches) {
    if (COUNTS && !(flags & GLOB_ALTDIRFUNC)) {
        matches->gl_opendir = (void *(*)(const char *))opendir;
        matches->gl_readdir = (struct dirent *(*)(void *))readdir;
        matches->gl_closedir = (void (*)(void *))(void *)closedir;
        matches->gl_stat = stat, matches->gl_lstat = lstat;
        flags |= GLOB_ALTDIRFUNC;
    }
    return NEXT(glob)(pattern, flags, failed, matches);
}
ALIAS(glob64, glob)

/* these walk through folders inside the C library */
#define WALK(type, name, path, args, ...) HOOK(type, name, __VA_ARGS__) { \
    if (COUNTS) note('u', 0, HERE, path); \
    moved = 1; \
    return NEXT(name) args; }
WALK(int, ftw, path, (path, visit, depth), const char *path, __ftw_func_t visit, int depth)
WALK(int, nftw, path, (path, visit, depth, flags), const char *path, __nftw_func_t visit, int depth, int flags)
WALK(FTS *, fts_open, *paths, (paths, flags, order),
    char *const *paths, int flags, int (*order)(const FTSENT **, const FTSENT **))
ALIAS(ftw64, ftw) ALIAS(nftw64, nftw) ALIAS(fts64_open, fts_open)

HOOK(int, chdir, const char *path) { /* noted before: a relative path leads elsewhere afterwards */
    int counted = COUNTS, there = is_there(HERE, path, F_OK);
    if (counted && there) note('s', 1, HERE, path);
    moved = 1;
    int result = NEXT(chdir)(path);
    if (counted && !there && VALID(0)) note('s', 0, HERE, path);
    return result;
}
HOOK(int, fchdir, int fd) { moved = 1; return NEXT(fchdir)(fd); }
HOOK(int, chroot, const char *path) { moved = 1; return NEXT(chroot)(path); }

static char *plain_getenv(const char *name) {
    size_t length = strlen(name);
    for (char **entry = environ; entry && *entry; entry++)
        if (!strncmp(*entry, name, length) && (*entry)[length] == '=') return *entry + length + 1;
    return NULL;
}
/* allocators ask for variables before dlsym may be called */
#define GETENV(name) HOOK(char *, name, const char *variable) { \
    char *value = hook_##name.real ? NEXT(name)(variable) : plain_getenv(variable); \
    if (COUNTS) note_name('v', value != NULL, variable); \
    return value; }
GETENV(getenv) GETENV(secure_getenv)

__attribute__((noinline)) static void note_library(const char *path) {
    int error = errno;
    if (!strchr(path, '/')) record('m', 1, "", "", path); /* the loader searches for it */
    else note('m', is_there(HERE, path, F_OK), HERE, path);
    errno = error;
}
/* The real dlopen must be called by a jump: it searches where the RUNPATH of its caller says. */
HOOK(void *, dlopen, const char *path, int flags) {
    if (path && *path && COUNTS) note_library(path);
    return NEXT(dlopen)(path, flags);
}

/* -- functions that open ------------------------------------------------------------------------------------------- */

#define NEEDS_MODE(flags) (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE)
#define MODE(last) mode_t mode = 0; \
    if (NEEDS_MODE(last)) { va_list more; va_start(more, last); mode = va_arg(more, mode_t); va_end(more); }

/* Was there a file before it is opened? Asked only where it makes a difference. */
static int was_there(int folder, const char *path, int flags) {
    if (!*log_path || !(flags & O_CREAT) || (flags & O_TRUNC)) return 1;
    return flags & O_EXCL ? 0 : is_there(folder, path, F_OK);
}

/* A file below a skipped folder counts under its real name if that is elsewhere: a link led out. */
static void note_opened(char kind, int found, int fd, int folder, const char *path) {
    if (!note(kind, found, folder, path) && found) note(kind, found, fd, "");
}

/* Nothing can be made where the folder is missing: that it is missing counts too. */
__attribute__((noinline)) static void note_parent(int folder, const char *path) {
    char parent[PATH_MAX] = ".";
    const char *slash = strrchr(path, '/');
    if (errno != ENOENT && errno != ENOTDIR) return;
    if (slash) snprintf(parent, sizeof parent, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    note('s', is_there(folder, parent, F_OK), folder, parent);
}

static void note_open(int fd, int flags, int before, int folder, const char *path) {
    int empties = flags & O_TRUNC, reads = (flags & O_ACCMODE) != O_WRONLY && !empties;
    int changes = (flags & O_ACCMODE) != O_RDONLY || empties || !before;
    if (fd < 0 && VALID(0)) {
        note(FOUND(0) ? 's' : 'r', FOUND(0), folder, path);
        if (flags & O_CREAT) note_parent(folder, path);
    } else if (fd < 0) {
        return;
    } else if (flags & O_PATH || (flags & O_TMPFILE) == O_TMPFILE) {
        note('s', 1, folder, path);
    } else {
        if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) note('s', 0, folder, path);
        else if (reads) note_opened('r', before, fd, folder, path);
        if (changes) note_opened('w', before && !empties, fd, folder, path);
    }
}

#define CHANGES(flags) ((flags) & (O_ACCMODE | O_CREAT | O_TRUNC)) /* noted whoever calls, as all changes are */
#define OPEN(name, folder, args, ...) HOOK(int, name, __VA_ARGS__, int flags, ...) { \
    MODE(flags) \
    int before = was_there(folder, path, flags), fd = NEXT(name) args; \
    if (counts(CHANGES(flags) ? NULL : __builtin_return_address(0))) note_open(fd, flags, before, folder, path); \
    return fd; }
OPEN(open, HERE, (path, flags, mode), const char *path)
OPEN(openat, folder, (folder, path, flags, mode), int folder, const char *path)
ALIAS(open64, open) ALIAS(__open_2, open) ALIAS(__open64_2, open)
ALIAS(openat64, openat) ALIAS(__openat_2, openat) ALIAS(__openat64_2, openat)

HOOK(int, creat, const char *path, mode_t mode) {
    int fd = NEXT(creat)(path, mode);
    if (COUNTS) note_open(fd, O_CREAT | O_WRONLY | O_TRUNC, 1, HERE, path);
    return fd;
}
ALIAS(creat64, creat)

static int flags_of(const char *mode) {
    int flags = strchr(mode, '+') ? O_RDWR : *mode == 'r' ? O_RDONLY : O_WRONLY;
    if (*mode != 'r') flags |= O_CREAT | (*mode == 'w' ? O_TRUNC : 0) | (strchr(mode, 'x') ? O_EXCL : 0);
    return flags;
}
#define FOPEN(name, args, ...) HOOK(FILE *, name, __VA_ARGS__) { \
    int flags = flags_of(mode), before = was_there(HERE, path, flags); \
    FILE *file = NEXT(name) args; \
    if (path && COUNTS) note_open(file ? fileno(file) : -1, flags, before, HERE, path); \
    return file; }
FOPEN(fopen, (path, mode), const char *path, const char *mode)
FOPEN(freopen, (path, mode, old), const char *path, const char *mode, FILE *old)
ALIAS(fopen64, fopen) ALIAS(freopen64, freopen)

HOOK(int, shm_open, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "/dev/shm/%s", name + (*name == '/'));
    int before = was_there(HERE, path, flags), fd = NEXT(shm_open)(name, flags, mode);
    if (COUNTS) note_open(fd, flags, before, HERE, path);
    return fd;
}

/* -- functions that make, change and remove ------------------------------------------------------------------------ */

#define IS_FULL (errno == ENOTEMPTY || errno == EEXIST)

/* What is made was not there before; what could not be made may have been there. */
static void note_made(int done, int folder, const char *path) {
    if (VALID(done)) note('s', !done && FOUND(0), folder, path);
    if (done) note('w', 0, folder, path);
    else if (VALID(0)) note_parent(folder, path);
}
/* What is changed or removed was there; a folder that can't be removed isn't empty. */
static void note_changed(int done, int folder, const char *path) {
    if (done) note('w', 1, folder, path);
    else if (VALID(0)) note(IS_FULL ? 'l' : 's', FOUND(0), folder, path);
}
#define CHANGE(noted, name, folder, path, args, ...) HOOK(int, name, __VA_ARGS__) { \
    int result = NEXT(name) args; \
    if (counts(NULL)) noted(!result, folder, path); \
    return result; }
CHANGE(note_made, mkdir, HERE, path, (path, mode), const char *path, mode_t mode)
CHANGE(note_made, mkdirat, folder, path, (folder, path, mode), int folder, const char *path, mode_t mode)
CHANGE(note_made, mknod, HERE, path, (path, mode, device), const char *path, mode_t mode, dev_t device)
CHANGE(note_made, mknodat, folder, path, (folder, path, mode, device),
    int folder, const char *path, mode_t mode, dev_t device)
CHANGE(note_made, mkfifo, HERE, path, (path, mode), const char *path, mode_t mode)
CHANGE(note_made, mkfifoat, folder, path, (folder, path, mode), int folder, const char *path, mode_t mode)
CHANGE(note_changed, unlink, HERE, path, (path), const char *path)
CHANGE(note_changed, unlinkat, folder, path, (folder, path, flags), int folder, const char *path, int flags)
CHANGE(note_changed, rmdir, HERE, path, (path), const char *path)
CHANGE(note_changed, remove, HERE, path, (path), const char *path)
CHANGE(note_changed, truncate, HERE, path, (path, length), const char *path, off_t length)
ALIAS(truncate64, truncate)

/* Through a link, other paths are looked at than those that are named: where it leads is always noted. */
__attribute__((noinline)) static void note_link(const char *target, int folder, const char *path) {
    int error = errno;
    char text[PATH_MAX] = "", link[32];
    if (*path != '/' && !read_link(HERE, place_of(folder, link), text)) lost = 1;
    if (!text[1]) text[0] = 0;
    size_t length = strlen(text) + (*path != '/') + strlen(path);
    if (!append('t', length, text, *path == '/' ? "" : "/", path, target)) lost = 1;
    errno = error;
}
static int is_folder(int folder, const char *path) {
    int error = errno, fd = syscall(SYS_openat, folder, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) syscall(SYS_close, fd);
    errno = error;
    return fd >= 0;
}

/* What is moved or linked was read, and is found under another name. */
static void note_moved(int done, int stays, int flags, int folder, const char *path, int to, const char *target) {
    char text[PATH_MAX];
    if (!done) {
        if (!VALID(0)) return;
        note('s', is_there(folder, path, F_OK), folder, path);
        note(IS_FULL && !stays ? 'l' : 's', is_there(to, target, F_OK), to, target);
        note_parent(to, target);
        return;
    }
    if (is_folder(to, target)) note('l', 0, to, target); /* was not in the way */
    note(read_link(to, target, text) ? 'k' : 'r', 1, folder, path);
    if (flags & RENAME_EXCHANGE) note('k', 1, to, target), note('r', 1, to, target);
    if (flags & RENAME_NOREPLACE) note('s', 0, to, target);
    if (!stays) note('w', !(flags & RENAME_EXCHANGE), folder, path);
    note('w', 0, to, target);
    if (read_link(to, target, text)) note_link(text, to, target);
}
#define MOVES(name, stays, how, folder, to, args, ...) HOOK(int, name, __VA_ARGS__) { \
    int result = NEXT(name) args; \
    if (counts(NULL)) note_moved(!result, stays, how, folder, path, to, target); \
    return result; }
MOVES(rename, 0, 0, HERE, HERE, (path, target), const char *path, const char *target)
MOVES(renameat, 0, 0, folder, to, (folder, path, to, target), int folder, const char *path, int to, const char *target)
#if __GLIBC_PREREQ(2, 28)
MOVES(renameat2, 0, flags, folder, to, (folder, path, to, target, flags),
    int folder, const char *path, int to, const char *target, unsigned flags)
#endif
MOVES(link, 1, RENAME_NOREPLACE, HERE, HERE, (path, target), const char *path, const char *target)
MOVES(linkat, 1, RENAME_NOREPLACE, folder, to, (folder, path, to, target, flags),
    int folder, const char *path, int to, const char *target, int flags)

#define LINK(name, folder, args, ...) HOOK(int, name, __VA_ARGS__) { \
    int result = NEXT(name) args; \
    if (counts(NULL)) note_made(!result, folder, path); \
    if (counts(NULL) && !result) note_link(target, folder, path); \
    return result; }
LINK(symlink, HERE, (target, path), const char *target, const char *path)
LINK(symlinkat, folder, (target, folder, path), const char *target, int folder, const char *path)

#define TEMPORARY(type, ok, name, args, ...) HOOK(type, name, __VA_ARGS__) { \
    type result = NEXT(name) args; \
    if (COUNTS && result ok) note('w', 0, HERE, path); \
    return result; }
TEMPORARY(int, >= 0, mkstemp, (path), char *path)
TEMPORARY(int, >= 0, mkostemp, (path, flags), char *path, int flags)
TEMPORARY(int, >= 0, mkstemps, (path, suffix), char *path, int suffix)
TEMPORARY(int, >= 0, mkostemps, (path, suffix, flags), char *path, int suffix, int flags)
TEMPORARY(char *, != NULL, mkdtemp, (path), char *path)
ALIAS(mkstemp64, mkstemp) ALIAS(mkostemp64, mkostemp) ALIAS(mkstemps64, mkstemps) ALIAS(mkostemps64, mkostemps)

/* -- programs ------------------------------------------------------------------------------------------------------ */

static size_t count(char *const words[]) {
    size_t number = 0;
    while (words && words[number]) number++;
    return number;
}

/* A variable that is a list: a text before those that are there, unless it is one of them. */
struct list { const char *name, *first; };
#define LISTS {{PRELOAD, library}, {FOLDERS, startup}}
static int list_count(void) { /* not the second where there is no such folder, or its name can't be in a list */
    return strchr(startup, ':') || !is_there(HERE, startup, F_OK) ? 1 : 2;
}

static char *join(char *text, const struct list *list, const char *given) { /* returns where the text ends */
    text = stpcpy(stpcpy(stpcpy(text, list->name), list->first), *given ? ":" : "");
    return stpcpy(text, given);
}

static size_t find(char *const given[], size_t number, const char *name) { /* with its "="; number: it is not there */
    size_t at = 0, length = strchr(name, '=') + 1 - name;
    while (at < number && strncmp(given[at], name, length)) at++;
    return at;
}

/* The variables of a program, and ours where they are missing, so that the log goes on. */
static char *const *complete(char **full, char *text, char *const given[]) {
    size_t number = count(given);
    if (!*log_path || number > MOST_VARIABLES) return given;
    memcpy(full, given, number * sizeof *full);
    const struct list lists[] = LISTS, *end = lists + list_count();
    for (const struct list *list = lists; list < end; list++) {
        size_t at = find(full, number, list->name);
        const char *present = at < number ? full[at] + strlen(list->name) : "";
        if (strstr(present, list->first)) continue;
        full[at] = text;
        text = join(text, list, present) + 1;
        number += at == number;
    }
    for (char *const *own = (char *const[]){log_variable, skip_variable, NULL}; *own; own++) {
        size_t at = find(full, number, *own);
        full[at] = *own;
        number += at == number;
    }
    full[number] = NULL;
    return full;
}
static size_t length_of(char *const given[], const char *name) {
    size_t number = count(given), at = find(given, number, name);
    return at < number ? strlen(given[at]) : 0;
}
#define COMPLETE(given) \
    size_t total = *log_path && count(given) <= MOST_VARIABLES ? count(given) : 0; \
    char *room[total + 5], text[2 * (sizeof PRELOAD + PATH_MAX + 16) + length_of(given, PRELOAD) + length_of(given, FOLDERS)]; \
    char *const *full = complete(room, text, given)

/* Note a program before it replaces this one: afterwards there is nobody who could. */
static int note_program(int folder, const char *path) {
    if (!path || !counts(NULL)) return 0;
    int there = !*path || is_there(folder, path, X_OK);
    if (there) note('x', getpid(), folder, path);
    else note('s', is_there(folder, path, F_OK), folder, path);
    return there;
}

/* Where a program is found; places where it is not are noted. */
static const char *find_program(const char *name, char path[PATH_MAX]) {
    const char *folders = variable("PATH=");
    if (strchr(name, '/') || !*name || !counts(NULL)) return name;
    for (folders = folders ? folders : "/bin:/usr/bin"; ; folders++) {
        int length = strcspn(folders, ":");
        snprintf(path, PATH_MAX, "%.*s%s%s", length, folders, length ? "/" : "", name);
        if (is_there(HERE, path, X_OK)) return path;
        note('s', is_there(HERE, path, F_OK), HERE, path);
        folders += length;
        if (!*folders) return NULL;
    }
}

#define EXECUTE(name, folder, path, args, ...) HOOK(int, name, __VA_ARGS__) { \
    COMPLETE(variables); \
    const char *where = path; \
    int noted = note_program(folder, where), result = NEXT(name) args; \
    if (noted) note('f', getpid(), folder, where); \
    return result; }
EXECUTE(execve, HERE, path, (path, words, full), const char *path, char *const words[], char *const variables[])
#if __GLIBC_PREREQ(2, 34)
EXECUTE(execveat, folder, path, (folder, path, words, full, flags),
    int folder, const char *path, char *const words[], char *const variables[], int flags)
#endif
EXECUTE(fexecve, fd, "", (fd, words, full), int fd, char *const words[], char *const variables[])
EXECUTE(execvpe, HERE, find_program(name, (char[PATH_MAX]){0}), (name, words, full),
    const char *name, char *const words[], char *const variables[])

int execv(const char *path, char *const words[]) { return execve(path, words, environ); }
int execvp(const char *name, char *const words[]) { return execvpe(name, words, environ); }

#define LISTED(name, call, ...) int name(const char *program, const char *first, ...) { \
    va_list more, again; \
    size_t number = 1; \
    va_start(more, first); \
    va_copy(again, more); \
    while (va_arg(more, char *)) number++; \
    char *words[number + 1]; \
    words[0] = (char *)first; \
    for (size_t at = 1; at <= number; at++) words[at] = va_arg(again, char *); \
    __VA_ARGS__ \
    va_end(more); \
    va_end(again); \
    return call; }
LISTED(execl, execve(program, words, environ))
LISTED(execlp, execvpe(program, words, environ))
LISTED(execle, execve(program, words, variables), char *const *variables = va_arg(again, char *const *);)

#define SPAWN(name, path) HOOK(int, name, pid_t *process, const char *program, \
    const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *how, \
    char *const words[], char *const variables[]) { \
    COMPLETE(variables); \
    pid_t started = 0; \
    const char *where = path; \
    int failed = NEXT(name)(&started, program, actions, how, words, full); \
    if (counts(NULL)) note(failed ? 's' : 'y', failed ? is_there(HERE, where, F_OK) : started, HERE, where); \
    if (process && !failed) *process = started; \
    return failed; }
SPAWN(posix_spawn, program)
SPAWN(posix_spawnp, find_program(program, (char[PATH_MAX]){0}))

/* The files that a program to be started will get opened. */
HOOK(int, posix_spawn_file_actions_addopen, posix_spawn_file_actions_t *actions,
    int fd, const char *path, int flags, mode_t mode) {
    int there = is_there(HERE, path, F_OK);
    if (COUNTS && (flags & O_ACCMODE) != O_WRONLY) note('r', there, HERE, path);
    if (COUNTS && flags & (O_ACCMODE | O_CREAT)) note('w', there && !(flags & O_TRUNC), HERE, path);
    return NEXT(posix_spawn_file_actions_addopen)(actions, fd, path, flags, mode);
}

/* What writes beyond this limit is killed: such a process can't be observed. */
HOOK(int, setrlimit, __rlimit_resource_t resource, const struct rlimit *limit) {
    if (COUNTS && resource == RLIMIT_FSIZE) note_name('u', 0, "a process with a limited file size");
    return NEXT(setrlimit)(resource, limit);
}
ALIAS(setrlimit64, setrlimit)

/* Another user may not write the log. */
#define BECOME(name, args, changes, ...) HOOK(int, name, __VA_ARGS__) { \
    if ((changes) && counts(NULL)) note_name('u', 0, "a process with other rights"); \
    return NEXT(name) args; }
#define OTHER(id) ((id) != (uid_t)-1 && (id) != geteuid())
BECOME(setuid, (id), OTHER(id), uid_t id)
BECOME(seteuid, (id), OTHER(id), uid_t id)
BECOME(setreuid, (real, id), OTHER(real) || OTHER(id), uid_t real, uid_t id)
BECOME(setresuid, (real, id, saved), OTHER(real) || OTHER(id), uid_t real, uid_t id, uid_t saved)

/* What a server answers can't be asked again. On this machine nobody else answers than what somebody started here. */
static void note_address(const struct sockaddr *address) {
    char host[INET6_ADDRSTRLEN] = "", text[sizeof host + 8];
    const struct sockaddr_in *four = (const void *)address;
    const struct sockaddr_in6 *six = (const void *)address;
    if (address->sa_family == AF_INET && ntohl(four->sin_addr.s_addr) >> 24 != 127)
        inet_ntop(AF_INET, &four->sin_addr, host, sizeof host);
    if (address->sa_family == AF_INET6 && !IN6_IS_ADDR_LOOPBACK(&six->sin6_addr))
        inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof host);
    snprintf(text, sizeof text, "%s:%d", host, ntohs(four->sin_port)); /* at the same place in both */
    if (*host) note_name('n', 1, text);
}
HOOK(int, connect, int fd, __CONST_SOCKADDR_ARG address, socklen_t size) { /* as glibc declares it */
    if (size >= sizeof(struct sockaddr_in) && COUNTS) note_address(address.__sockaddr__);
    return NEXT(connect)(fd, address, size);
}

/* These start a shell with the variables of this process, which may have dropped ours. */
static void lend_variables(void) {
    static char texts[2][sizeof PRELOAD + 2 * PATH_MAX + 16];
    if (!counts(NULL)) return;
    putenv(log_variable);
    putenv(skip_variable);
    const struct list lists[] = LISTS, *end = lists + list_count();
    for (const struct list *list = lists; list < end; list++) {
        const char *present = variable(list->name);
        if (present && (strstr(present, list->first) || strlen(present) >= PATH_MAX)) continue;
        join(texts[list - lists], list, present ? present : "");
        putenv(texts[list - lists]);
    }
}
HOOK(int, system, const char *command) { lend_variables(); return NEXT(system)(command); }
HOOK(FILE *, popen, const char *command, const char *mode) { lend_variables(); return NEXT(popen)(command, mode); }
