/* Unit test of core/wait.c. */
#include "../core/wait.h"

#include <fcntl.h>
#include <unistd.h>

#include "check.h"

static void an_event_is_readable_from_signal_to_clear(void) {
  const char *step = NULL;
  int32_t fd = ks_event_open(&step);
  CHECK(fd >= 0);
  CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  CHECK(ks_wait_readable(&fd, 1, 0, &step) == 0);
  CHECK(ks_event_clear(fd, &step) == 0);
  for (int i = 0; i < 3; i++)
    CHECK(ks_event_signal(fd, &step) == 0);
  CHECK(ks_wait_readable(&fd, 1, -1, &step) == 1);
  CHECK(ks_event_clear(fd, &step) == 0);
  CHECK(ks_wait_readable(&fd, 1, 0, &step) == 0);
  close(fd);
}

/* A signal must not block the thread that gives it, however many there were. */
static void an_event_that_is_full_stays_readable(void) {
  const char *step = NULL;
  int32_t fd = ks_event_open(&step);
  const uint64_t most = UINT64_MAX - 1;
  CHECK(write(fd, &most, sizeof(most)) == sizeof(most));
  CHECK(ks_event_signal(fd, &step) == 0);
  CHECK(ks_wait_readable(&fd, 1, 0, &step) == 1);
  close(fd);
}

static void each_descriptor_has_its_bit(void) {
  const char *step = NULL;
  int32_t fds[KS_WAIT_MAX + 1];
  for (int i = 0; i < KS_WAIT_MAX + 1; i++)
    fds[i] = ks_event_open(&step);
  for (int i = 0; i < KS_WAIT_MAX; i++) {
    CHECK(ks_event_signal(fds[i], &step) == 0);
    CHECK(ks_wait_readable(fds, KS_WAIT_MAX, 0, &step) == 1 << i);
    CHECK(ks_event_clear(fds[i], &step) == 0);
  }
  CHECK(ks_event_signal(fds[0], &step) == 0 && ks_event_signal(fds[15], &step) == 0);
  CHECK(ks_wait_readable(fds, KS_WAIT_MAX, -1, &step) == (1 | 1 << 15));
  CHECK(ks_wait_readable(fds, KS_WAIT_MAX + 1, 0, &step) == -EINVAL);
  CHECK(strcmp(step, "poll") == 0);
  for (int i = 0; i < KS_WAIT_MAX + 1; i++)
    close(fds[i]);
}

/* Whoever reads from it is told what is wrong; a wait that went on would hide it. */
static void a_descriptor_that_has_failed_counts_as_readable(void) {
  const char *step = NULL;
  int ends[2];
  CHECK(pipe(ends) == 0);
  int32_t fds[] = {ends[0], ends[0]};
  close(ends[1]);
  CHECK(ks_wait_readable(fds, 1, -1, &step) == 1);
  close(ends[0]);
  CHECK(ks_wait_readable(fds, 2, -1, &step) == 3);
  CHECK(ks_event_signal(ends[0], &step) == -EBADF && strcmp(step, "write") == 0);
  CHECK(ks_event_clear(ends[0], &step) == -EBADF && strcmp(step, "read") == 0);
}

int main(void) {
  an_event_is_readable_from_signal_to_clear();
  an_event_that_is_full_stays_readable();
  each_descriptor_has_its_bit();
  a_descriptor_that_has_failed_counts_as_readable();
  return 0;
}
