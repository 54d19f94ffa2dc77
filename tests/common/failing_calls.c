/* Calls of the C library that fail when they are told to, by the variable FAIL:
 * the name of the call, the error number, the place of the first one that fails, and whether that is the last one too.
 * It says so on its standard error. "create" is an open that may create a file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(const char *call) {
    static int count;
    char name[16];
    int error, first, is_last;
    const char *told = getenv("FAIL");
    if (told == NULL || sscanf(told, "%15s %d %d %d", name, &error, &first, &is_last) != 4) return 0;
    if (strcmp(name, call) != 0) return 0;
    int place = __sync_add_and_fetch(&count, 1);
    if (place < first || (is_last && place > first)) return 0;
    if (write(2, "a call fails\n", 13) < 0) return 0;
    errno = error;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite(int file, const void *bytes, size_t length, off_t place) {
    return fails("pwrite") ? -1 : REAL(pwrite)(file, bytes, length, place);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t place) {
    return fails("pwrite") ? -1 : REAL(pwrite64)(file, bytes, length, place);
}

int ftruncate(int file, off_t length) {
    return fails("ftruncate") ? -1 : REAL(ftruncate)(file, length);
}

int ftruncate64(int file, off64_t length) {
    return fails("ftruncate") ? -1 : REAL(ftruncate64)(file, length);
}

int fsync(int file) {
    return fails("fsync") ? -1 : REAL(fsync)(file);
}

int fdatasync(int file) {
    return fails("fsync") ? -1 : REAL(fdatasync)(file);
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & O_CREAT ? (mode_t)va_arg(arguments, int) : 0;
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return flags & O_CREAT && access(path, F_OK) != 0 && fails("create") ? -1 : REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return flags & O_CREAT && access(path, F_OK) != 0 && fails("create") ? -1 : REAL(open64)(path, flags, mode);
}
