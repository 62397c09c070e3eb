#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "pump-state.h"

/*
 * A pipe holds one fragment of a received packet in each page-sized slot, whatever its length: with
 * the default of 16 it is full after 16 fragments, mostly of less than 4 KiB.
 */
enum { PIPE_BYTES = 256 * 1024 };

struct ks_pipe *ks_pump_take_pipe(struct ks_pump *pump) {
  struct ks_pipe *pipe = pump->first_pipe;
  if (pipe != NULL) {
    pump->first_pipe = pipe->next;
    return pipe;
  }
  int fds[2];
  pipe = pump->pipes < pump->options.max_pipes ? malloc(sizeof(*pipe)) : NULL;
  if (pipe == NULL || pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0) {
    free(pipe);
    ks_pump_add(pump, KS_PUMP_PIPES_MISSED, 1);
    return NULL;
  }
  /* Refused without CAP_SYS_RESOURCE above fs.pipe-user-pages-soft: then it stays as it is. */
  fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES);
  const int capacity = fcntl(fds[1], F_GETPIPE_SZ);
  *pipe = (struct ks_pipe){
      .read_fd = fds[0], .write_fd = fds[1], .capacity = capacity > 0 ? (size_t)capacity : 4096};
  pump->pipes++;
  ks_pump_add(pump, KS_PUMP_PIPES, 1);
  return pipe;
}

static void close_pipe(struct ks_pump *pump, struct ks_pipe *pipe) {
  close(pipe->read_fd);
  close(pipe->write_fd);
  free(pipe);
  pump->pipes--;
  ks_pump_add(pump, KS_PUMP_PIPES, -1);
}

void ks_pump_give_pipe(struct ks_pump *pump, struct ks_pipe *pipe, bool is_empty) {
  if (!is_empty) {
    close_pipe(pump, pipe);
    return;
  }
  pipe->next = pump->first_pipe;
  pump->first_pipe = pipe;
}

void ks_pump_close_pipes(struct ks_pump *pump) {
  while (pump->first_pipe != NULL) {
    struct ks_pipe *pipe = pump->first_pipe;
    pump->first_pipe = pipe->next;
    close_pipe(pump, pipe);
  }
}
