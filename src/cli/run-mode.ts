/** The table of proxy modes: which `start` makes each, and what all of them are given. */
import type { ProxyMode, RunConfig } from '../config/run-config.js'
import type { SteeringWorker } from '../datapath/nfqueue/steering-spawn.js'
import type { ModeContext, RunningMode } from '../datapath/running-mode.js'
import { takingOver } from '../datapath/take-over.js'
import { commandRunner } from '../kernel/command.js'
import { localAddresses } from '../kernel/local-address.js'
import { systemClock } from '../lib/clock.js'
import type { Logger } from '../observe/log.js'
import { loadBalancerPlugin } from '../policy/load-balancer-plugin.js'
import type { ProbedKernel } from './probe-kernel.js'

type StartMode = (context: ModeContext) => RunningMode | Promise<RunningMode>

/** Only the mode that is asked for is loaded: the others would take part of the time until it serves. */
const MODES: Readonly<Record<ProxyMode, () => Promise<StartMode>>> = {
  auto: async () => (await import('../datapath/auto/start.js')).startAuto,
  userspace: async () => (await import('../datapath/userspace/start.js')).startUserspace,
  nfqueue: async () => (await import('../datapath/nfqueue/start.js')).startNfqueue,
  iptables: async () => (await import('../datapath/iptables/start.js')).startIptables,
  ipvs: async () => (await import('../datapath/ipvs/start.js')).startIpvs,
  nftables: async () => (await import('../datapath/nftables/start.js')).startNftables,
}

export type ModeEvents = Pick<
  ModeContext,
  'metrics' | 'onFailure' | 'onEjection' | 'onSwitch' | 'endsForAnother'
>

/** What is begun while the rest of the program is loaded. */
export interface EarlyParts {
  readonly probed: ProbedKernel
  readonly steeringWorker?: Promise<SteeringWorker | undefined>
}

/**
 * Makes the mode of the configuration.
 * @throws SluiceError when it cannot start
 */
export async function startMode(
  config: RunConfig,
  log: Logger,
  { probed, steeringWorker, ...events }: ModeEvents & EarlyParts,
): Promise<RunningMode> {
  const { plugin: file } = config.balancers
  const [start, kernel, worker] = await Promise.all([
    MODES[config.proxyMode](),
    probed,
    steeringWorker,
  ])
  const plugin = file === undefined ? undefined : await loadBalancerPlugin(file)
  const context: ModeContext = {
    config,
    kernel,
    steeringWorker: worker,
    plugin,
    run: commandRunner(),
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
  }
  return takingOver(await start(context), context)
}
