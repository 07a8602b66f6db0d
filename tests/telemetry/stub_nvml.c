/* A libnvidia-ml.so.1 without a driver, for the unmodified binding.
 *
 * Build: cc -shared -fPIC -O1 -Wl,-soname,libnvidia-ml.so.1 -o libnvidia-ml.so.1 stub_nvml.c
 * With -DOLD_DRIVER it lacks the functions that drivers of 2018 lack.
 *
 * It is played by a file that FAKE_NVML_FILE names, read again whenever it was replaced: lines of `key value`. `init` and
 * `count` are for the whole; everything else begins with the number of the GPU, or of a part of it: `0.name`,
 * `0/1.total`. `0.FIGURE.error` is the code that a figure is answered with. Without a file there is no driver.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef int R;
typedef size_t D;
typedef unsigned long long U64;
typedef struct { U64 total, free, used; } Mem1;
typedef struct { unsigned version; U64 total, reserved, free, used; } Mem2;
typedef struct { unsigned gpu, memory; } Util;
typedef struct { unsigned pid; U64 used; unsigned gi, ci; } Process;
typedef struct {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char bus_id[32];
} Pci;

enum { NO_PERMISSION = 4, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, SIZE = 7, NO_DRIVER = 9 };

static int up = 0;

/* All of the file, read again when another one is in its place. */
static const char *play(void) {
    static char content[1 << 16];
    static struct stat seen;
    struct stat now;
    const char *path = getenv("FAKE_NVML_FILE");
    if (!path || stat(path, &now)) return "";
    if (now.st_ino != seen.st_ino || now.st_mtim.tv_nsec != seen.st_mtim.tv_nsec || now.st_size != seen.st_size) {
        FILE *file = fopen(path, "r");
        size_t length = file ? fread(content, 1, sizeof content - 1, file) : 0;
        content[length] = 0;
        if (file) fclose(file);
        seen = now;
    }
    return content;
}

/* The value of a key, or NULL; good until the next call. */
static const char *text(const char *key) {
    static char value[4096];
    size_t length = strlen(key);
    for (const char *line = play(); line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        if (strncmp(line, key, length) || line[length] != ' ') continue;
        snprintf(value, sizeof value, "%.*s", (int)strcspn(line + length + 1, "\n"), line + length + 1);
        return value;
    }
    return NULL;
}

static U64 number(const char *key, U64 fallback) {
    const char *value = text(key);
    return value ? strtoull(value, NULL, 10) : fallback;
}

static const char *name_of(D d, const char *figure) {
    static char key[128];
    if (d < 1000) snprintf(key, sizeof key, "%zu.%s", d - 1, figure);
    else snprintf(key, sizeof key, "%zu/%zu.%s", d / 1000 - 1, d % 1000 - 1, figure);
    return key;
}

static const char *text_of(D d, const char *figure) { return text(name_of(d, figure)); }
static U64 number_of(D d, const char *figure, U64 fallback) { return number(name_of(d, figure), fallback); }

/* What every call begins with: the code that it is to be answered with. */
static R state(D d, const char *figure) {
    char error[96];
    U64 block = number("block_ms", 0);
    if (block) usleep((useconds_t)block * 1000);
    if (!up) return UNINITIALIZED;
    R all = (R)number("error", 0);
    if (!all) all = (R)number_of(d, "error", 0);
    snprintf(error, sizeof error, "%s.error", figure);
    return all ? all : (R)number_of(d, error, 0);
}

/* A figure that is not in the file is not supported. */
static R figure(D d, const char *name, U64 *value) {
    R r = state(d, name);
    if (r) return r;
    if (!text_of(d, name)) return NOT_SUPPORTED;
    *value = number_of(d, name, 0);
    return 0;
}

static R small(D d, const char *name, unsigned *value) {
    U64 wide = 0;
    R r = figure(d, name, &wide);
    if (!r) *value = (unsigned)wide;
    return r;
}

static R words(D d, const char *name, char *out, unsigned length) {
    R r = state(d, name);
    if (r) return r;
    const char *value = text_of(d, name);
    if (!value) return NOT_SUPPORTED;
    snprintf(out, length, "%s", value);
    return 0;
}

R nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (number("crash", 0)) abort();
    R r = (R)number("init", getenv("FAKE_NVML_FILE") ? 0 : NO_DRIVER);
    if (!r) up = 1;
    return r;
}
R nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
R nvmlShutdown(void) { up = 0; return 0; }
const char *nvmlErrorString(R r) { (void)r; return "an error of the stub"; }

R nvmlSystemGetDriverVersion(char *out, unsigned length) { snprintf(out, length, "570.86.15"); return 0; }
R nvmlSystemGetCudaDriverVersion(int *version) { *version = (int)number("cuda", 12040); return 0; }

R nvmlDeviceGetCount_v2(unsigned *n) {
    if (!up) return UNINITIALIZED;
    R r = (R)number("error", 0);
    *n = (unsigned)number("count", 1);
    return r;
}
R nvmlDeviceGetHandleByIndex_v2(unsigned i, D *d) {
    if (!up) return UNINITIALIZED;
    if (i >= number("count", 1)) return INVALID;
    *d = i + 1;
    return state(*d, "handle");
}

R nvmlDeviceGetName(D d, char *out, unsigned length) { return words(d, "name", out, length); }
R nvmlDeviceGetUUID(D d, char *out, unsigned length) { return words(d, "uuid", out, length); }
R nvmlDeviceGetPciInfo_v3(D d, Pci *pci) { return words(d, "pci", pci->bus_id, sizeof pci->bus_id); }

R nvmlDeviceGetMemoryInfo(D d, Mem1 *m) {
    R r = figure(d, "total", &m->total);
    if (r) return r;
    m->used = number_of(d, "used", 0);
    m->free = number_of(d, "free", m->total - m->used);
    return 0;
}
#ifndef OLD_DRIVER
R nvmlDeviceGetMemoryInfo_v2(D d, Mem2 *m) {
    if (m->version != 0x02000028) return 25;
    R r = state(d, "memory_v2");
    if (r || (r = figure(d, "total", &m->total))) return r;
    m->reserved = number_of(d, "reserved", 0);
    m->used = number_of(d, "used", 0);
    m->free = number_of(d, "free", m->total - m->used - m->reserved);
    return 0;
}
#endif

R nvmlDeviceGetUtilizationRates(D d, Util *u) {
    R r = small(d, "util", &u->gpu);
    if (!r) u->memory = (unsigned)number_of(d, "memory_util", 7);
    return r;
}
R nvmlDeviceGetPowerUsage(D d, unsigned *mw) { return small(d, "power", mw); }
R nvmlDeviceGetEnforcedPowerLimit(D d, unsigned *mw) { return small(d, "limit", mw); }
R nvmlDeviceGetTotalEnergyConsumption(D d, U64 *mj) { return figure(d, "energy", mj); }
R nvmlDeviceGetTemperature(D d, int sensor, unsigned *t) { (void)sensor; return small(d, "temperature", t); }
R nvmlDeviceGetClockInfo(D d, int type, unsigned *mhz) { return small(d, type == 1 ? "clock" : "memory_clock", mhz); }
R nvmlDeviceGetCudaComputeCapability(D d, int *major, int *minor) {
    U64 value = 0;
    R r = figure(d, "capability", &value);
    *major = (int)(value / 10);
    *minor = (int)(value % 10);
    return r;
}
R nvmlDeviceGetCurrentClocksThrottleReasons(D d, U64 *bits) { return figure(d, "throttle", bits); }
#ifndef OLD_DRIVER
R nvmlDeviceGetCurrentClocksEventReasons(D d, U64 *bits) { return figure(d, "throttle", bits); }
#endif

/* `0.compute self:1000 4711:-1`: process and bytes; `self` is the process that asks. */
static R processes(D d, const char *list, unsigned *n, Process *p) {
    R r = state(d, list);
    if (r) return r;
    char copy[4096];
    const char *value = text_of(d, list);
    snprintf(copy, sizeof copy, "%s", value ? value : "");
    unsigned found = 0;
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
        char *bytes = strchr(word, ':');
        if (p && found < *n) {
            p[found].pid = !strncmp(word, "self", 4) ? (unsigned)getpid() : (unsigned)atoi(word);
            p[found].used = (U64)atoll(bytes + 1);
            p[found].gi = p[found].ci = ~0u;
        }
        found++;
    }
    r = found && (!p || *n < found) ? SIZE : 0;
    *n = found;
    return r;
}
R nvmlDeviceGetComputeRunningProcesses_v2(D d, unsigned *n, Process *p) { return processes(d, "compute", n, p); }
R nvmlDeviceGetGraphicsRunningProcesses_v2(D d, unsigned *n, Process *p) { return processes(d, "graphics", n, p); }
#ifndef OLD_DRIVER
R nvmlDeviceGetComputeRunningProcesses_v3(D d, unsigned *n, Process *p) { return processes(d, "compute", n, p); }
R nvmlDeviceGetGraphicsRunningProcesses_v3(D d, unsigned *n, Process *p) { return processes(d, "graphics", n, p); }
#endif

R nvmlDeviceGetMigMode(D d, unsigned *current, unsigned *pending) {
    R r = small(d, "mig", current);
    *pending = (unsigned)number_of(d, "mig_pending", *current);
    return r;
}
R nvmlDeviceGetMaxMigDeviceCount(D d, unsigned *n) { return small(d, "parts", n); }
R nvmlDeviceGetMigDeviceHandleByIndex(D d, unsigned i, D *part) {
    *part = d * 1000 + i + 1;
    return text_of(*part, "uuid") ? 0 : NOT_FOUND;
}
