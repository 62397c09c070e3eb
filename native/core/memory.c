#include "memory.h"

#include <malloc.h>

bool ks_memory_release(void) {
  return malloc_trim(0) == 1;
}
