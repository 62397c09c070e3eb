/**
 * `kube-sluice cleanup`: removes what any run has left in the kernel of this node; with `--kube-proxy`
 * what kube-proxy has left, and nothing of ours, so that it can be done while we serve.
 */
import { cleanupNode } from '../datapath/cleanup.js'
import { cleanupKubeProxy } from '../datapath/cleanup-kube-proxy.js'
import { commandRunner } from '../kernel/command.js'
import { stderrProgress } from './progress.js'

export interface CleanupOptions {
  readonly write: (text: string) => void
  /** What kube-proxy has left, in place of what we have. */
  readonly kubeProxy?: boolean
}

/**
 * Removes routes, policy rules, chains, sets and tables, and prints a line for each. Our own a proxy
 * that is running puts back with its next sync.
 * @returns exit status: 0, or 1 when something could not be removed
 */
export async function cleanup(
  { write, kubeProxy = false }: CleanupOptions,
  run = commandRunner(),
  removeAll = kubeProxy ? cleanupKubeProxy : cleanupNode,
): Promise<number> {
  const progress = stderrProgress()
  const told: typeof run = (name, args, ...rest) => {
    progress.step(`${name} ${args.join(' ')}`)
    return run(name, args, ...rest)
  }
  const { removed, problems } = await removeAll(told).finally(() => {
    progress.end()
  })
  for (const line of removed) write(`removed ${line}\n`)
  for (const line of problems) write(`failed: ${line}\n`)
  if (removed.length === 0 && problems.length === 0) write('nothing to remove\n')
  return problems.length === 0 ? 0 : 1
}
