/** Puts the userspace mode together: the capture that works here, the balancers, and the relays. */
import { iptablesTool } from '../../kernel/iptables.js'
import { type ConnectionLog, connectionLogOf } from '../../observe/connection-log.js'
import { Traffic } from '../../observe/traffic.js'
import { AffinityTable } from '../../policy/affinity.js'
import { PluginGuard, type BalancerPlugin } from '../../policy/balancer/plugin.js'
import { EndpointPicker } from '../../policy/endpoint-picker.js'
import type { DecidingMode, HandOver, ModeContext } from '../running-mode.js'
import type { Capture } from './capture.js'
import { chooseCapture, createCapture } from './capture-selection.js'
import { StopHold } from './stop-hold.js'
import { UserspaceProxier } from './userspace-proxier.js'

/** @throws SluiceError when no capture works here, or not the one that is asked for */
export function startUserspace(context: ModeContext): DecidingMode {
  const { config, clock, localAddresses, log } = context
  const warn = (message: string): void => {
    log.warn(message)
  }
  const capture = captureOf(context, warn)
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
    hold: holdOf(context),
    ...{ config, clock, capture, picker, traffic, localAddresses, warn },
    endsForAnother: context.endsForAnother,
    plugin: guard,
    log: logOf(context),
  })
  return {
    datapath,
    handOver: handOverOf(datapath, capture, traffic),
    foresee: (connection) => Promise.resolve(picker.foresee(connection)),
    relayed: (client) => datapath.relayed(client),
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
      datagrams: datapath.datagrams,
      pump: datapath.pumpCounts,
      affinityClients: affinity.size,
      boundsHit: { ...datapath.boundsHit, 'affinity-max-clients': affinity.evictions },
    }),
    onSynced: () => {
      affinity.sweep(clock.nowMs())
    },
  }
}

function holdOf({ run, kernel, config }: ModeContext): StopHold {
  return new StopHold({
    run,
    toolOf: (family) => iptablesTool(family, kernel.iptablesVariant),
    holdMs: () => config.stopHoldMs,
  })
}

function captureOf(context: ModeContext, warn: (message: string) => void): Capture {
  const { config, kernel, run, clock, localAddresses, log } = context
  const { name, reason } = chooseCapture(config.userspace.capture, kernel)
  log.info({ capture: name, reason }, `connections reach the relay by ${name}: ${reason}`)
  return createCapture(name, {
    run,
    localAddresses,
    clock,
    iptablesVariant: kernel.iptablesVariant,
    tproxyMarkBit: config.userspace.tproxyMarkBit,
    warn,
  })
}

function logOf({ config, clock, log }: ModeContext): ConnectionLog | undefined {
  return connectionLogOf(config.connectionLog, {
    clock,
    random: Math.random,
    write: (line) => {
      log.info(line, 'connection')
    },
  })
}

function handOverOf(
  datapath: UserspaceProxier,
  { bindsToVip }: Capture,
  traffic: Traffic,
): HandOver {
  return {
    standby: undefined,
    bindsToVip,
    take: (takes) => {
      datapath.take(takes)
    },
    load: () => ({
      connections: traffic.totals().totalConnections,
      queueDrops: 0,
      busySeconds: busySeconds(),
    }),
    sessionDestinations: () => datapath.sessionDestinations(),
  }
}

/** The relay is this process. */
function busySeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
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
