#include "SQLiteFaults.h"

#include <pthread.h>
#include <sqlite3.h>
#include <string.h>

static sqlite3_vfs *original;
static sqlite3_vfs own;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
// Protected by the lock.
static sqlite_fault armed;
static char armed_suffix[128];
static int armed_skip, armed_count, hits;

typedef struct {
    sqlite3_file base;
    const char *path;  // SQLite keeps the name as long as the file is open.
    // The system's file follows.
} faulty_file;

static sqlite3_file *inner(sqlite3_file *file) { return (sqlite3_file *)((faulty_file *)file + 1); }

// Whether an operation of the kind of `fault` on `path` is to fail.
static int fails(sqlite_fault fault, const char *path) {
    int result = 0;
    pthread_mutex_lock(&lock);
    if (armed == fault && path && armed_count > 0) {
        size_t length = strlen(path), suffix = strlen(armed_suffix);
        if (length >= suffix && strcmp(path + length - suffix, armed_suffix) == 0) {
            if (armed_skip > 0) {
                armed_skip--;
            } else {
                armed_count--;
                hits++;
                result = 1;
            }
        }
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static const char *path_of(sqlite3_file *file) { return ((faulty_file *)file)->path; }

static int faulty_close(sqlite3_file *file) { return inner(file)->pMethods->xClose(inner(file)); }

static int faulty_read(sqlite3_file *file, void *bytes, int count, sqlite3_int64 offset) {
    if (fails(SQLITE_FAULT_READ, path_of(file))) return SQLITE_IOERR_READ;
    int code = inner(file)->pMethods->xRead(inner(file), bytes, count, offset);
    // Headers are short reads; what is bent is a page.
    if (code == SQLITE_OK && count >= 512 && fails(SQLITE_FAULT_CORRUPT, path_of(file))) {
        memset(bytes, 0xA5, 16);
        memset((char *)bytes + count / 2, 0xA5, 64);
    }
    return code;
}

static int faulty_write(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset) {
    const char *path = path_of(file);
    if (fails(SQLITE_FAULT_WRITE, path)) return SQLITE_IOERR_WRITE;
    int is_full = fails(SQLITE_FAULT_FULL, path);
    if (is_full || fails(SQLITE_FAULT_SHORT_WRITE, path)) {
        inner(file)->pMethods->xWrite(inner(file), bytes, count / 2, offset);
        return is_full ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    }
    return inner(file)->pMethods->xWrite(inner(file), bytes, count, offset);
}

static int faulty_truncate(sqlite3_file *file, sqlite3_int64 size) {
    if (fails(SQLITE_FAULT_TRUNCATE, path_of(file))) return SQLITE_IOERR_TRUNCATE;
    return inner(file)->pMethods->xTruncate(inner(file), size);
}

static int faulty_sync(sqlite3_file *file, int flags) {
    if (fails(SQLITE_FAULT_SYNC, path_of(file))) return SQLITE_IOERR_FSYNC;
    return inner(file)->pMethods->xSync(inner(file), flags);
}

static int faulty_size(sqlite3_file *file, sqlite3_int64 *size) {
    return inner(file)->pMethods->xFileSize(inner(file), size);
}
static int faulty_lock(sqlite3_file *file, int level) { return inner(file)->pMethods->xLock(inner(file), level); }
static int faulty_unlock(sqlite3_file *file, int level) { return inner(file)->pMethods->xUnlock(inner(file), level); }
static int faulty_check(sqlite3_file *file, int *result) {
    return inner(file)->pMethods->xCheckReservedLock(inner(file), result);
}
static int faulty_control(sqlite3_file *file, int operation, void *argument) {
    return inner(file)->pMethods->xFileControl(inner(file), operation, argument);
}
static int faulty_sector(sqlite3_file *file) { return inner(file)->pMethods->xSectorSize(inner(file)); }
static int faulty_device(sqlite3_file *file) { return inner(file)->pMethods->xDeviceCharacteristics(inner(file)); }

static int faulty_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **memory) {
    if (fails(SQLITE_FAULT_SHM, path_of(file))) return SQLITE_IOERR_SHMMAP;
    return inner(file)->pMethods->xShmMap(inner(file), region, size, extend, memory);
}
static int faulty_shm_lock(sqlite3_file *file, int offset, int count, int flags) {
    return inner(file)->pMethods->xShmLock(inner(file), offset, count, flags);
}
static void faulty_shm_barrier(sqlite3_file *file) { inner(file)->pMethods->xShmBarrier(inner(file)); }
static int faulty_shm_unmap(sqlite3_file *file, int remove) {
    return inner(file)->pMethods->xShmUnmap(inner(file), remove);
}

// Without xFetch (version 3): a mapped page would be read past the faults.
static const sqlite3_io_methods methods = {
    2,           faulty_close,   faulty_read,    faulty_write,  faulty_truncate, faulty_sync,
    faulty_size, faulty_lock,    faulty_unlock,  faulty_check,  faulty_control,  faulty_sector,
    faulty_device, faulty_shm_map, faulty_shm_lock, faulty_shm_barrier, faulty_shm_unmap, 0, 0,
};

static int faulty_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *opened) {
    (void)vfs;
    file->pMethods = 0;
    if (fails(SQLITE_FAULT_OPEN, path)) return SQLITE_CANTOPEN;
    ((faulty_file *)file)->path = path;
    int code = original->xOpen(original, path, inner(file), flags, opened);
    if (code == SQLITE_OK) file->pMethods = &methods;
    return code;
}

static int faulty_delete(sqlite3_vfs *vfs, const char *path, int synchronize) {
    (void)vfs;
    if (fails(SQLITE_FAULT_DELETE, path)) return SQLITE_IOERR_DELETE;
    return original->xDelete(original, path, synchronize);
}

void sqlite_faults_install(void) {
    pthread_mutex_lock(&lock);
    if (!original) {
        sqlite3_initialize();
        original = sqlite3_vfs_find(0);
        own = *original;
        own.szOsFile = (int)sizeof(faulty_file) + original->szOsFile;
        own.zName = "faulty";
        own.pNext = 0;
        own.xOpen = faulty_open;
        own.xDelete = faulty_delete;
        sqlite3_vfs_register(&own, 1);
    }
    pthread_mutex_unlock(&lock);
}

void sqlite_faults_arm(sqlite_fault fault, const char *suffix, int skip, int count) {
    pthread_mutex_lock(&lock);
    armed = fault;
    strncpy(armed_suffix, suffix, sizeof armed_suffix - 1);
    armed_skip = skip;
    armed_count = count;
    hits = 0;
    pthread_mutex_unlock(&lock);
}

int sqlite_faults_disarm(void) {
    pthread_mutex_lock(&lock);
    armed = SQLITE_FAULT_NONE;
    int result = hits;
    pthread_mutex_unlock(&lock);
    return result;
}
