/** Puts the userspace mode together: the capture that works here, the balancers, and the relays. */
import { Traffic } from '../../observe/traffic.js'
import { AffinityTable } from '../../policy/affinity.js'
import { PluginGuard, type BalancerPlugin } from '../../policy/balancer/plugin.js'
import { EndpointPicker } from '../../policy/endpoint-picker.js'
import type { ModeContext, RunningMode } from '../running-mode.js'
import { chooseCapture, createCapture } from './capture-selection.js'
import { UserspaceProxier } from './userspace-proxier.js'

/** @throws SluiceError when no capture works here, or not the one that is asked for */
export function startUserspace(context: ModeContext): RunningMode {
  const { config, kernel, run, clock, localAddresses, log } = context
  const chosen = chooseCapture(config.userspace.capture, kernel)
  log.info({ capture: chosen.name, reason: chosen.reason }, 'capture chosen')
  const capture = createCapture(chosen.name, {
    run,
    localAddresses,
    clock,
    iptablesVariant: kernel.iptablesVariant,
    tproxyMarkBit: config.userspace.tproxyMarkBit,
    warn: (message) => {
      log.warn(message)
    },
  })
  const guard = context.plugin && guardOf(context.plugin, context)
  const affinity = new AffinityTable({ maxClients: config.affinityMaxClients })
  const picker = new EndpointPicker({
    affinity,
    clock,
    random: Math.random,
    balancers: config.balancers,
    plugin: guard,
    ejection: config.health.ejection,
    onEjection: (servicePortId, { id }, isEjected) => {
      context.onEjection(servicePortId, id, isEjected)
    },
  })
  const traffic = new Traffic()
  const datapath = new UserspaceProxier({
    config,
    clock,
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
      affinity.sweep(clock.nowMs())
    },
  }
}

function guardOf(plugin: BalancerPlugin, { config, clock, log }: ModeContext): PluginGuard {
  return new PluginGuard({
    plugin,
    limitMs: config.balancers.pluginLimitMs,
    nowMs: () => clock.nowMs(),
    onWarning: (message) => {
      log.warn(message)
    },
  })
}
