/** Which modes `kube-sluice run --once` is for. */
import type { ProxyMode } from '../config/run-config.js'
import { SluiceError } from '../lib/errors.js'

/** Modes whose rules serve without a process. */
const LASTING_MODES: readonly ProxyMode[] = ['iptables', 'ipvs', 'nftables']

/** Throws SluiceError ERR_USAGE for a mode that serves only while it runs. */
export function requireLasting(mode: ProxyMode): void {
  if (LASTING_MODES.includes(mode)) return
  throw new SluiceError(
    'ERR_USAGE',
    `--once: the ${mode} mode serves only while it runs; choose one of: ${LASTING_MODES.join(', ')}`,
  )
}
