/** The events of a running proxy: to the API server, or without one to the log. */
import { randomBytes } from 'node:crypto'
import type { RunConfig } from '../config/run-config.js'
import { systemClock } from '../lib/clock.js'
import { Events, type WriteEvent } from '../observe/events.js'
import type { Logger } from '../observe/log.js'

/** kube-proxy's words: who looks for them finds the nodes that still have the mode. */
const IPVS_DEPRECATION =
  'The ipvs proxier is now deprecated and may be removed in a future release.' +
  " Please use 'nftables' instead."

/** Makes them, and says the first: that the proxy starts on this node (reference 2.4). */
export function createEvents(
  { nodeName, proxyMode }: Pick<RunConfig, 'nodeName' | 'proxyMode'>,
  log: Logger,
  writeEvent: WriteEvent | undefined,
): Events {
  const events = new Events({
    write: writeEvent ?? writeTo(log),
    clock: systemClock,
    wallClock: () => new Date(),
    uniqueText: () => randomBytes(8).toString('hex'),
  })
  const node = { kind: 'Node', name: nodeName } as const
  const details = { action: 'StartKubeProxy' }
  events.normal(node, 'Starting', '', details)
  if (proxyMode === 'ipvs') events.warn(node, 'IPVSDeprecation', IPVS_DEPRECATION, details)
  return events
}

/** For when the automatic switch has been made: an event on this node. */
export function switchTeller(
  { nodeName }: Pick<RunConfig, 'nodeName'>,
  events: () => Events,
): (note: string) => void {
  const node = { kind: 'Node', name: nodeName } as const
  const details = { action: 'SwitchProxyMode', isLogged: true }
  return (note) => {
    events().normal(node, 'ProxyModeSwitched', note, details)
  }
}

function writeTo(log: Logger): WriteEvent {
  return ({ type, subject, reason, note, count, isLogged }) => {
    const level = isLogged ? 'trace' : type === 'Warning' ? 'warn' : 'debug'
    const { kind, namespace, name } = subject
    const object = namespace === undefined ? `${kind} ${name}` : `${kind} ${namespace}/${name}`
    log[level]({ object, reason, count }, `event: ${object}: ${reason}: ${note}`)
    return Promise.resolve()
  }
}
