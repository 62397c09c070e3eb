/*
 * What the threads of the addon have in common: each waits in epoll for its sockets, and for an event
 * of its holder. -errno on failure.
 */
#ifndef KS_THREAD_H
#define KS_THREAD_H

#include <pthread.h>
#include <stdint.h>

/*
 * An epoll and, in it under `event_key`, an event (wait.h). Both are the caller's to close, also on
 * failure; -1: was not opened.
 */
int ks_thread_descriptors(uint64_t event_key, int *epoll_fd, int *event_fd, const char **step);

/* Starts it under a name of at most 15 bytes. Signals stay the process's own business. */
int ks_thread_start(pthread_t *thread, void *(*run)(void *), void *argument, const char *name,
                    const char **step);

#endif
