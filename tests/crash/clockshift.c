/* Puts the wall clock of a process off, live: LD_PRELOAD this, with CRASH_SHIFT naming a file that holds the seconds.
 *
 * The file is mapped and holds one double in the machine's own form, so that whoever writes it moves the clock of every
 * process that has mapped it, at once. Only CLOCK_REALTIME is moved, by whatever call it is read; monotonic clocks are
 * right. Build: cc -shared -fPIC -O2 -o clockshift.so clockshift.c -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile double *shift;
static int (*right_clock)(clockid_t, struct timespec *);

static void prepare(void) {
    if (right_clock) return;
    right_clock = dlsym(RTLD_NEXT, "clock_gettime");
    const char *name = getenv("CRASH_SHIFT");
    int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof(double), PROT_READ, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) shift = page;
    close(fd);
}

__attribute__((constructor)) static void begin(void) { prepare(); }

static void move(struct timespec *at) {
    if (!shift) return;
    long long total = (long long)(*shift * 1e9) + at->tv_nsec;
    long long seconds = total / 1000000000LL, rest = total % 1000000000LL;
    if (rest < 0) { rest += 1000000000LL; seconds -= 1; }
    at->tv_sec += seconds;
    at->tv_nsec = rest;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    prepare();
    int failed = right_clock(clock, at);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) move(at);
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    if (at) { at->tv_sec = now.tv_sec; at->tv_usec = now.tv_nsec / 1000; }
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
