/* Unit test of core/xtables.c; with no network namespace of its own it only checks refusals. */
#define _GNU_SOURCE
#include "../core/xtables.h"

#include <errno.h>
#include <sched.h>

#include "check.h"

int main(void) {
  struct ks_xtables_size size = {0};
  const char *step = NULL;
  CHECK(ks_xtables_size(KS_IPV4, "a-name-that-is-longer-than-any-table", &size, &step) == -EINVAL);
  if (unshare(CLONE_NEWNET) < 0)
    return 0;
  const enum ks_family families[] = {KS_IPV4, KS_IPV6};
  for (int i = 0; i < 2; i++) {
    step = NULL;
    CHECK(ks_xtables_size(families[i], "no-such-table", &size, &step) < 0);
    CHECK(step != NULL);
    /* A kernel may have no legacy tables. An empty one has a policy for each of three hooks, and an end. */
    if (ks_xtables_size(families[i], "filter", &size, &step) == 0)
      CHECK(size.entries == 4 && size.bytes > 0);
  }
  return 0;
}
