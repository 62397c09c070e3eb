/** `kube-sluice cleanup`: removes what any run has left in the kernel of this node. */
import { cleanupNode } from '../datapath/cleanup.js'
import { commandRunner } from '../kernel/command.js'

export interface CleanupOptions {
  readonly write: (text: string) => void
}

/**
 * Removes our routes, policy rules, chains and sets, and prints a line for each. A proxy that is
 * running puts them back with its next sync.
 * @returns exit status: 0, or 1 when something could not be removed
 */
export async function cleanup(
  { write }: CleanupOptions,
  run = commandRunner(),
  removeAll = cleanupNode,
): Promise<number> {
  const { removed, problems } = await removeAll(run)
  for (const line of removed) write(`removed ${line}\n`)
  for (const line of problems) write(`failed: ${line}\n`)
  if (removed.length === 0 && problems.length === 0) write('nothing to remove\n')
  return problems.length === 0 ? 0 : 1
}
