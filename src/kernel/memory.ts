/** What the process holds and does not use. */
import { loadAddon } from './addon.js'

/**
 * Gives free pages of malloc's back to the system, in all threads (malloc_trim(3)); whether there were any.
 * By itself malloc gives back only what is free at the end of its memory.
 */
export function releaseMemory(): boolean {
  return loadAddon().releaseMemory()
}
