/** What `run` needs of a proxy mode, and the making of each. */
import type { RunConfig } from '../config/run-config.js'
import { chooseMode } from '../datapath/choose-mode.js'
import type { Datapath } from '../datapath/datapath.js'
import { startIptables } from '../datapath/iptables/start.js'
import { startNfqueue } from '../datapath/nfqueue/start.js'
import { chooseCapture, createCapture } from '../datapath/userspace/capture-selection.js'
import { UserspaceProxier } from '../datapath/userspace/userspace-proxier.js'
import { commandRunner } from '../kernel/command.js'
import { localAddresses } from '../kernel/local-address.js'
import { type KernelCapabilities, probeCapabilities } from '../kernel/probe-capability.js'
import { systemClock } from '../lib/clock.js'
import type { StatusInputs } from '../observe/build-status.js'
import type { Logger } from '../observe/log.js'
import { Traffic } from '../observe/traffic.js'
import { AffinityTable } from '../policy/affinity.js'
import { PluginGuard, type BalancerPlugin } from '../policy/balancer/plugin.js'
import { EndpointPicker } from '../policy/endpoint-picker.js'
import type { Snapshot } from '../model/snapshot.js'
import { loadBalancerPlugin } from '../policy/load-balancer-plugin.js'

/** The parts of the status that a mode knows. */
export type ModeStatus = Pick<
  StatusInputs,
  | 'mode'
  | 'capture'
  | 'steering'
  | 'traffic'
  | 'vips'
  | 'balancerOf'
  | 'balancerPlugin'
  | 'udpSessions'
  | 'affinityClients'
  | 'boundsHit'
>

export interface RunningMode {
  readonly datapath: Datapath
  readonly status: (snapshot: Snapshot) => ModeStatus
  /** Connections that a stop would end. */
  readonly openConnections: () => number
  /** Once after each sync. */
  readonly onSynced: () => void
}

/**
 * Makes the mode of the configuration.
 * @param onFailure the mode has stopped working; the process is to end
 * @throws SluiceError when it cannot start
 */
export async function startMode(
  config: RunConfig,
  log: Logger,
  onFailure: (error: Error) => void,
): Promise<RunningMode> {
  const run = commandRunner()
  const kernel = await probeCapabilities(run)
  const { plugin: file } = config.balancers
  const plugin = file === undefined ? undefined : await loadBalancerPlugin(file)
  const context = {
    config,
    kernel,
    run,
    clock: systemClock,
    localAddresses,
    log: {
      info: (values: object, message: string): void => {
        log.info(values, message)
      },
      warn: (message: string): void => {
        log.warn(message)
      },
    },
  }
  let mode = config.proxyMode
  if (mode === 'auto') {
    const chosen = chooseMode(kernel)
    log.info(chosen, 'mode chosen')
    mode = chosen.mode
  }
  if (mode === 'iptables') return startIptables(context)
  if (mode === 'nfqueue') return startNfqueue({ ...context, onFailure })
  return startUserspace(config, log, { kernel, plugin })
}

interface UserspaceNeeds {
  readonly kernel: KernelCapabilities
  readonly plugin: BalancerPlugin | undefined
}

function startUserspace(
  config: RunConfig,
  log: Logger,
  { kernel, plugin }: UserspaceNeeds,
): RunningMode {
  const chosen = chooseCapture(config.userspace.capture, kernel)
  log.info({ capture: chosen.name, reason: chosen.reason }, 'capture chosen')
  const capture = createCapture(chosen.name, {
    run: commandRunner(),
    localAddresses,
    clock: systemClock,
    iptablesVariant: kernel.iptablesVariant,
    tproxyMarkBit: config.userspace.tproxyMarkBit,
    warn: (message) => {
      log.warn(message)
    },
  })
  const guard = plugin && guardOf(plugin, config, log)
  const affinity = new AffinityTable({ maxClients: config.affinityMaxClients })
  const picker = new EndpointPicker({
    affinity,
    clock: systemClock,
    random: Math.random,
    balancers: config.balancers,
    plugin: guard,
  })
  const traffic = new Traffic()
  const datapath = new UserspaceProxier({
    config,
    clock: systemClock,
    capture,
    picker,
    traffic,
    localAddresses,
  })
  return {
    datapath,
    openConnections: () => datapath.tcpConnections,
    status: () => ({
      mode: 'userspace',
      capture: capture.name,
      steering: undefined,
      traffic,
      vips: datapath.vips.values(),
      balancerOf: (id) => picker.balancerOf(id) ?? '',
      balancerPlugin: guard?.counts(),
      udpSessions: datapath.udpSessions,
      affinityClients: affinity.size,
      boundsHit: { ...datapath.boundsHit, 'affinity-max-clients': affinity.evictions },
    }),
    onSynced: () => {
      affinity.sweep(systemClock.nowMs())
    },
  }
}

function guardOf(plugin: BalancerPlugin, config: RunConfig, log: Logger): PluginGuard {
  return new PluginGuard({
    plugin,
    limitMs: config.balancers.pluginLimitMs,
    nowMs: () => systemClock.nowMs(),
    onWarning: (message) => {
      log.warn(message)
    },
  })
}
