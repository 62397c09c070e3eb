/** The probes by the name of their check. A new protocol is a file beside this one and a row here. */
import type { ProbeType } from '../health-check.js'
import { isProbed } from '../health-check.js'
import { startHttpProbe, startHttpsProbe } from './http.js'
import type { StartProbe } from './probe.js'
import { startTcpProbe } from './tcp.js'

const PROBES: Readonly<Partial<Record<ProbeType, StartProbe>>> = {
  tcp: startTcpProbe,
  http: startHttpProbe,
  https: startHttpsProbe,
}

/** Starts the probe that the check asks for. Throws when nothing can be started at all. */
export const startProbe: StartProbe = (target, done) => {
  const { type } = target.check
  const start = isProbed(type) ? PROBES[type] : undefined
  if (start === undefined) throw new Error(`there is no probe for ${type}`)
  return start(target, done)
}
