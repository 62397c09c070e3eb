/** Puts the iptables mode together: what the kernel lacks is said in one line before anything is touched. */
import { readFileSync } from 'node:fs'

import type { RunConfig } from '../../config/run-config.js'
import type { Clock } from '../../lib/clock.js'
import { SluiceError } from '../../lib/errors.js'
import type { IpFamily } from '../../lib/ip-address.js'
import type { RunCommand } from '../../kernel/command.js'
import { iptablesTool } from '../../kernel/iptables.js'
import type { LocalAddress } from '../../kernel/local-address.js'
import { Netfilter } from '../../kernel/netfilter.js'
import type { KernelCapabilities } from '../../kernel/probe-capability.js'
import { loopbackRouter } from '../../kernel/sysctl.js'
import { vipsOf } from '../../model/vip.js'
import type { Snapshot } from '../../model/snapshot.js'
import { Traffic } from '../../observe/traffic.js'
import { IPV6_NEEDS, missingOf, MODE_NEEDS } from '../mode-needs.js'
import { deleteStaleFlows } from '../nfqueue/stale-flows.js'
import { FamilyRules } from './family-rules.js'
import { IptablesProxier } from './iptables-proxier.js'
import { rulesetOptions } from './ruleset-options.js'

export interface IptablesContext {
  readonly config: RunConfig
  readonly kernel: KernelCapabilities
  readonly run: RunCommand
  readonly clock: Clock
  readonly localAddresses: () => readonly LocalAddress[]
  readonly log: {
    info(context: object, message: string): void
    warn(message: string): void
  }
}

const BE_LIBERAL = '/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal'

/** @throws SluiceError ERR_CAPABILITY, naming what the kernel lacks and what may help */
export function startIptables(context: IptablesContext) {
  const { config, kernel, run, clock, localAddresses, log } = context
  requireCapabilities(kernel)
  const hasIpv6 = missingOf(kernel, IPV6_NEEDS.iptables).length === 0
  const families: readonly IpFamily[] = hasIpv6 ? ['IPv4', 'IPv6'] : ['IPv4']
  const warn = (message: string): void => {
    log.warn(message)
  }
  const netfilter = new Netfilter()
  const proxier = new IptablesProxier({
    clock,
    families,
    warn,
    rulesOf: (family) =>
      new FamilyRules({ run, clock, warn, tool: iptablesTool(family, kernel.iptablesVariant) }),
    optionsOf: (family, snapshot) =>
      rulesetOptions(family, config, {
        node: snapshot.node,
        localAddresses: localAddresses(),
        passesInvalid: readsTrue(BE_LIBERAL),
      }),
    deleteStaleFlows: (family, snapshot) => deleteStaleFlows(netfilter, family, snapshot),
  })
  log.info({ families, iptables: iptablesTool('IPv4', kernel.iptablesVariant) }, 'rules only')
  const routeLoopback = loopbackRouter(config.nodeSetup.sysctlRoot, warn)
  return {
    datapath: {
      sync: (snapshot: Snapshot) => {
        if (config.localhostNodePorts && hasNodePorts(snapshot)) routeLoopback()
        return proxier.sync(snapshot)
      },
      drain: () => proxier.drain(),
      close: async () => {
        await proxier.close()
        netfilter.close()
      },
    },
    openConnections: () => 0,
    onSynced: () => undefined,
    status: (snapshot: Snapshot) => ({
      mode: 'iptables' as const,
      capture: undefined,
      steering: undefined,
      traffic: new Traffic(),
      vips: vipsOfAll(snapshot),
      balancerOf: () => 'random',
      udpSessions: 0,
      affinityClients: 0,
    }),
  }
}

/** Every VIP, for the status. */
export function* vipsOfAll(snapshot: Snapshot) {
  for (const [servicePortId, { servicePort }] of snapshot.servicePorts) {
    for (const { kind, address, port } of vipsOf(servicePort)) {
      yield { servicePortId, kind, address: address ?? 'node', port, action: 'rules' }
    }
  }
}

function requireCapabilities(kernel: KernelCapabilities): void {
  const missing = missingOf(kernel, MODE_NEEDS.iptables)
  if (missing.length === 0) return
  const lines = missing.map(
    ({ name, reason, fix }) => `${name} (${reason ?? 'no reason given'}; try: ${fix ?? 'nothing'})`,
  )
  throw new SluiceError(
    'ERR_CAPABILITY',
    `--proxy-mode iptables cannot work here, it misses ${lines.join(', ')}`,
  )
}

function hasNodePorts(snapshot: Snapshot): boolean {
  for (const { servicePort } of snapshot.servicePorts.values()) {
    if (servicePort.ipFamily === 'IPv4' && servicePort.nodePort !== undefined) return true
  }
  return false
}

function readsTrue(file: string): boolean {
  try {
    return readFileSync(file, 'utf8').trim() !== '0'
  } catch {
    // Connection tracking is not loaded yet: its default is 0.
    return false
  }
}
