/* A disk that takes its time: every flush to it takes SHIM_US microseconds longer. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

typedef int flush(int);

static int slowly(const char *name, int file)
{
    flush *real = (flush *) dlsym(RTLD_NEXT, name);
    int done = real(file), error = errno;
    const char *said = getenv("SHIM_US");
    long us = said ? atol(said) : 0;
    struct timespec left = {us / 1000000, us % 1000000 * 1000};

    while (nanosleep(&left, &left) && errno == EINTR)
        ;
    errno = error;
    return done;
}

int fsync(int file)
{
    return slowly("fsync", file);
}

int fdatasync(int file)
{
    return slowly("fdatasync", file);
}
