/* Preloaded into a process under test: stands between lmdb and the system calls on its data file.
 *
 * GUIDON_FAULT_IMAGE=PATH   keeps at PATH what a disk would still hold after the power went: at each sync the whole data file, and
 *                           what goes through a descriptor opened with O_DSYNC. The copy is put in place by rename, so PATH is always whole.
 * GUIDON_FAULT=CALL:WHAT:N  the N-th call (from 1) of CALL on the data file fails, and all later ones too. CALL is `sync` (fdatasync, fsync,
 *                           msync), `write` (pwrite, writev) or `any`. WHAT is EIO, ENOSPC, HANG (it comes back after a minute), or KILL: the
 *                           process ends as by kill -9.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static const char DATA_FILE[] = "/data.mdb";
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long calls_count = 0;
/* The data file as some call has named it, for msync, which has no descriptor. */
static char data_path[4096] = "";

static int is_data_file(int fd) {
  char link[64], path[sizeof data_path];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  size_t tail = sizeof DATA_FILE - 1;
  if (length < (ssize_t)tail) return 0;
  path[length] = 0;
  if (strcmp(path + length - tail, DATA_FILE) != 0) return 0;
  pthread_mutex_lock(&lock);
  memcpy(data_path, path, (size_t)length + 1);
  pthread_mutex_unlock(&lock);
  return 1;
}

/* 1 when this call is to fail; errno says how. */
static int is_to_fail(const char *call) {
  const char *fault = getenv("GUIDON_FAULT");
  if (fault == NULL) return 0;
  size_t length = strlen(call);
  const char *what;
  if (strncmp(fault, call, length) == 0 && fault[length] == ':') what = fault + length + 1;
  else if (strncmp(fault, "any:", 4) == 0) what = fault + 4;
  else return 0;
  const char *count = strchr(what, ':');
  if (count == NULL || __atomic_add_fetch(&calls_count, 1, __ATOMIC_SEQ_CST) < atol(count + 1)) return 0;
  if (strncmp(what, "KILL", 4) == 0) kill(getpid(), SIGKILL);
  if (strncmp(what, "HANG", 4) == 0) {
    sleep(60);
    return 0;
  }
  errno = strncmp(what, "ENOSPC", 6) == 0 ? ENOSPC : EIO;
  return 1;
}

static void must(int is_done, const char *what) {
  if (is_done) return;
  fprintf(stderr, "fault shim: %s: %s\n", what, strerror(errno));
  abort();
}

static void copy_data_file(void) {
  const char *image = getenv("GUIDON_FAULT_IMAGE");
  if (image == NULL || data_path[0] == 0) return;
  char temporary[sizeof data_path + 8];
  static char buffer[1 << 20];
  snprintf(temporary, sizeof temporary, "%s.new", image);
  pthread_mutex_lock(&lock);
  int from = open(data_path, O_RDONLY | O_CLOEXEC);
  int to = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  must(from >= 0 && to >= 0, "open");
  ssize_t length;
  while ((length = read(from, buffer, sizeof buffer)) > 0) must(write(to, buffer, (size_t)length) == length, "copy");
  must(length == 0, "read");
  close(from);
  close(to);
  must(rename(temporary, image) == 0, "rename");
  pthread_mutex_unlock(&lock);
}

typedef ssize_t (*pwrite_call)(int, const void *, size_t, off_t);

static pwrite_call real_pwrite(void) { return (pwrite_call)dlsym(RTLD_NEXT, "pwrite64"); }

/* O_DSYNC: what was written is on the disk, and nothing else. */
static void patch_image(int fd, const void *bytes, size_t length, off_t offset) {
  const char *image = getenv("GUIDON_FAULT_IMAGE");
  if (image == NULL || (fcntl(fd, F_GETFL) & O_DSYNC) == 0) return;
  pthread_mutex_lock(&lock);
  int to = open(image, O_WRONLY | O_CLOEXEC);
  must(to >= 0 && real_pwrite()(to, bytes, length, offset) == (ssize_t)length, "patch");
  close(to);
  pthread_mutex_unlock(&lock);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
  int is_data = is_data_file(fd);
  if (is_data && is_to_fail("write")) return -1;
  ssize_t written = real_pwrite()(fd, bytes, length, offset);
  if (is_data && written > 0) patch_image(fd, bytes, (size_t)written, offset);
  return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
  ssize_t (*real)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");
  if (is_data_file(fd) && is_to_fail("write")) return -1;
  return real(fd, parts, count);
}

static int synced(int fd, const char *name) {
  int (*real)(int) = dlsym(RTLD_NEXT, name);
  int is_data = is_data_file(fd);
  if (is_data && is_to_fail("sync")) return -1;
  int result = real(fd);
  if (is_data && result == 0) copy_data_file();
  return result;
}

int fdatasync(int fd) { return synced(fd, "fdatasync"); }
int fsync(int fd) { return synced(fd, "fsync"); }

int msync(void *address, size_t length, int flags) {
  int (*real)(void *, size_t, int) = dlsym(RTLD_NEXT, "msync");
  if (is_to_fail("sync")) return -1;
  int result = real(address, length, flags);
  if (result == 0 && (flags & MS_SYNC) != 0) copy_data_file();
  return result;
}
