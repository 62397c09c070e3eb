/* Memory of the process as a whole. */
#ifndef KS_MEMORY_H
#define KS_MEMORY_H

#include <stdbool.h>

/* Gives free pages of malloc's, in all of its arenas, back to the system; whether there were any.
 * Walks all of what is free: milliseconds for 50 MiB. */
bool ks_memory_release(void);

#endif
