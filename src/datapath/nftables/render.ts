/** What the nftables mode would load, as text for `nft -f`: both families, each one transaction. */
import { markLayoutOf } from '../../packet/mark-layout.js'
import type { RenderRules } from '../running-mode.js'
import { computeLayout } from './layout.js'
import { layoutOptionsReader } from './layout-options.js'
import { layoutText } from './nftables-proxier.js'

export const renderNftables: RenderRules = (snapshot, config, localAddresses) => {
  const marks = markLayoutOf(config.nfqueue.markMask)
  const options = layoutOptionsReader(config, () => localAddresses, marks)(snapshot.node)
  const layouts = (['IPv4', 'IPv6'] as const).map((family) =>
    computeLayout(snapshot, family, options),
  )
  return {
    text: layouts.map(layoutText).join(''),
    warnings: layouts.flatMap(({ warnings }) => warnings),
  }
}
