/**
 * `kube-sluice render`: prints what a mode that writes rules would load, by the same code that loads
 * it. Needs no rights and touches nothing; warnings go to standard error.
 */
import type { ProxyMode, RunConfig } from '../config/run-config.js'
import { renderIptables } from '../datapath/iptables/render.js'
import { renderIpvs } from '../datapath/ipvs/render.js'
import { renderNftables } from '../datapath/nftables/render.js'
import type { RenderRules } from '../datapath/running-mode.js'
import { localAddresses } from '../kernel/local-address.js'
import { SluiceError } from '../lib/errors.js'
import { readSnapshot } from './read-snapshot.js'

export interface RenderOutput {
  readonly write: (text: string) => void
  readonly warn: (message: string) => void
}

const RENDERERS: Partial<Readonly<Record<ProxyMode, RenderRules>>> = {
  iptables: renderIptables,
  ipvs: renderIpvs,
  nftables: renderNftables,
}

/** Returns the exit status. Throws SluiceError ERR_USAGE for a mode without rules, ERR_MANIFEST. */
export async function render(config: RunConfig, { write, warn }: RenderOutput): Promise<number> {
  const renderRules = RENDERERS[config.proxyMode]
  if (renderRules === undefined) {
    throw new SluiceError(
      'ERR_USAGE',
      `--proxy-mode ${config.proxyMode} has no rules to print; choose one of: ${Object.keys(RENDERERS).join(', ')}`,
    )
  }
  const snapshot = await readSnapshot(config, warn)
  const { text, warnings } = renderRules(snapshot, config, localAddresses())
  for (const warning of warnings) warn(warning)
  write(text)
  return 0
}
