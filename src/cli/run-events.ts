/** The events of a running proxy: to the API server, or without one to the log. */
import { randomBytes } from 'node:crypto'
import type { RunConfig } from '../config/run-config.js'
import { systemClock } from '../lib/clock.js'
import { Events, type WriteEvent } from '../observe/events.js'
import type { Logger } from '../observe/log.js'

/** Makes them, and says the first: that the proxy starts on this node (reference 2.4). */
export function createEvents(
  { nodeName }: Pick<RunConfig, 'nodeName'>,
  log: Logger,
  writeEvent: WriteEvent | undefined,
): Events {
  const events = new Events({
    write: writeEvent ?? writeTo(log),
    clock: systemClock,
    wallClock: () => new Date(),
    uniqueText: () => randomBytes(8).toString('hex'),
  })
  events.normal({ kind: 'Node', name: nodeName }, 'Starting', '', { action: 'StartKubeProxy' })
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
