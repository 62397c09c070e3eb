/** The table of proxy modes: which `start` makes each, and what all of them are given. */
import type { ProxyMode, RunConfig } from '../config/run-config.js'
import { startAuto } from '../datapath/auto/start.js'
import { startIptables } from '../datapath/iptables/start.js'
import { startIpvs } from '../datapath/ipvs/start.js'
import { startNfqueue } from '../datapath/nfqueue/start.js'
import { startNftables } from '../datapath/nftables/start.js'
import type { ModeContext, RunningMode } from '../datapath/running-mode.js'
import { startUserspace } from '../datapath/userspace/start.js'
import { commandRunner } from '../kernel/command.js'
import { localAddresses } from '../kernel/local-address.js'
import { probeCapabilities } from '../kernel/probe-capability.js'
import { systemClock } from '../lib/clock.js'
import type { Logger } from '../observe/log.js'
import { loadBalancerPlugin } from '../policy/load-balancer-plugin.js'

type StartMode = (context: ModeContext) => RunningMode | Promise<RunningMode>

const MODES: Readonly<Record<ProxyMode, StartMode>> = {
  auto: startAuto,
  userspace: startUserspace,
  nfqueue: startNfqueue,
  iptables: startIptables,
  ipvs: startIpvs,
  nftables: startNftables,
}

/** Modes whose rules serve without a process. */
export const LASTING_MODES: readonly ProxyMode[] = ['iptables', 'ipvs', 'nftables']

export type ModeEvents = Pick<ModeContext, 'metrics' | 'onFailure' | 'onEjection' | 'onSwitch'>

/**
 * Makes the mode of the configuration.
 * @throws SluiceError when it cannot start
 */
export async function startMode(
  config: RunConfig,
  log: Logger,
  events: ModeEvents,
): Promise<RunningMode> {
  const run = commandRunner()
  const kernel = await probeCapabilities(run)
  const { plugin: file } = config.balancers
  const plugin = file === undefined ? undefined : await loadBalancerPlugin(file)
  return MODES[config.proxyMode]({
    config,
    kernel,
    plugin,
    run,
    clock: systemClock,
    localAddresses,
    log: {
      info: (context, message) => {
        log.info(context, message)
      },
      warn: (message, context = {}) => {
        log.warn(context, message)
      },
    },
    ...events,
  })
}
