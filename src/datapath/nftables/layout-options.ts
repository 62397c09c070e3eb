/** The options of the flat layout, from the configuration and what the node is like now. */
import type { RunConfig } from '../../config/run-config.js'
import { nodePortAddressesOf, type LocalAddress } from '../../model/node-port-addresses.js'
import type { NodeState } from '../../model/snapshot.js'
import { passesInvalid } from '../passes-invalid.js'
import type { LayoutOptions } from './layout.js'

/** What the layout takes from the configuration. */
export type LayoutConfig = Pick<
  RunConfig,
  | 'clusterCidrs'
  | 'detectLocalMode'
  | 'masqueradeAll'
  | 'nodePortAddresses'
  | 'localhostNodePorts'
  | 'affinityMaxClients'
>

/**
 * Reads them; the same object for as long as nothing changed, which is what the layout goes by.
 */
export function layoutOptionsReader(
  config: LayoutConfig,
  localAddresses: () => readonly LocalAddress[],
  marks: LayoutOptions['marks'],
): (node: NodeState) => LayoutOptions {
  let before: { readonly key: string; readonly options: LayoutOptions } | undefined
  return (node) => {
    const nodePortAddresses = servesAll(config)
      ? 'all'
      : (['IPv4', 'IPv6'] as const).flatMap((family) =>
          nodePortAddressesOf(family, node, { ...config, localAddresses: localAddresses() }),
        )
    const dropsInvalid = !passesInvalid()
    const { masqueradeAll, clusterCidrs, detectLocalMode, localhostNodePorts } = config
    const { affinityMaxClients } = config
    const options: LayoutOptions = {
      marks,
      masqueradeAll,
      clusterCidrs,
      detectLocalMode,
      nodePortAddresses,
      localhostNodePorts,
      affinityMaxClients,
      dropsInvalid,
    }
    const key = JSON.stringify([options, clusterCidrs.map(({ text }) => text)])
    if (before?.key !== key) before = { key, options }
    return before.options
  }
}

/** A look-up of local addresses follows them as they come and go; a list is as old as the last sync. */
function servesAll({ nodePortAddresses }: LayoutConfig): boolean {
  if (nodePortAddresses === 'primary') return false
  return (
    nodePortAddresses.length === 0 ||
    nodePortAddresses.some(({ prefixLength }) => prefixLength === 0)
  )
}
