/** What `--proxy-mode auto` means on this node. Pure. */
import type { KernelCapabilities } from '../kernel/probe-capability.js'
import { missingOf, MODE_NEEDS } from './mode-needs.js'

export interface ChosenMode {
  readonly mode: 'nfqueue' | 'userspace'
  /** For the log. */
  readonly reason: string
}

/** nfqueue where the kernel can, else userspace, which can everywhere. */
export function chooseMode(kernel: KernelCapabilities): ChosenMode {
  const missing = missingOf(kernel, MODE_NEEDS.nfqueue)
  if (missing.length === 0) {
    return { mode: 'nfqueue', reason: 'the kernel has all that nfqueue needs' }
  }
  const names = [...new Set(missing.map(({ name }) => name))]
  return { mode: 'userspace', reason: `nfqueue misses ${names.join(', ')}` }
}
