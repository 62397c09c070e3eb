/** Puts the ipvs mode together: what the kernel lacks is said in one line before anything is touched. */
import { release } from 'node:os'

import type { RunConfig } from '../../config/run-config.js'
import type { Clock } from '../../lib/clock.js'
import { SluiceError } from '../../lib/errors.js'
import type { IpFamily } from '../../lib/ip-address.js'
import type { RunCommand } from '../../kernel/command.js'
import { iptablesTool } from '../../kernel/iptables.js'
import { Netfilter } from '../../kernel/netfilter.js'
import type { LocalAddress } from '../../kernel/local-address.js'
import { capabilityOf, type KernelCapabilities } from '../../kernel/probe-capability.js'
import type { Snapshot } from '../../model/snapshot.js'
import { selectEndpoints, vipsOf } from '../../model/vip.js'
import type { RuleMetrics } from '../../observe/rule-metrics.js'
import { Traffic } from '../../observe/traffic.js'
import { familiesOf, missingOf, MODE_NEEDS } from '../mode-needs.js'
import { reconcileFlows } from '../stale-flows.js'
import { IpvsFamily } from './ipvs-family.js'
import { IpvsProxier } from './ipvs-proxier.js'
import { type IpvsSettings, ipvsSettings } from './ipvs-settings.js'
import { schedulerFor } from './scheduler.js'
import { setIpvsParameters } from './sysctls.js'
import { DummyDeviceAddresses, LocalRouteAddresses } from './vip-addresses.js'

export interface IpvsContext {
  readonly config: RunConfig
  readonly kernel: KernelCapabilities
  readonly run: RunCommand
  readonly clock: Clock
  readonly localAddresses: () => readonly LocalAddress[]
  readonly metrics: RuleMetrics
  /** As in ModeContext. */
  readonly keptFlows?: () => ReadonlySet<string>
  readonly log: {
    info(context: object, message: string): void
    warn(message: string): void
  }
}

/** @throws SluiceError ERR_CAPABILITY, naming what the kernel lacks and what may help */
export async function startIpvs(context: IpvsContext) {
  const { config, kernel, log } = context
  requireIpvs(kernel)
  const { strictArp } = config.ipvs
  const root = config.nodeSetup.sysctlRoot
  setIpvsParameters({ strictArp, release: release(), root }, log)
  await setTimeouts(context)
  const families = familiesOf(kernel, 'ipvs')
  const device = capabilityOf(kernel, 'dummy devices').usable ? 'kube-ipvs0' : 'lo'
  const settings = ipvsSettings(config)
  log.info(
    { families, scheduler: settings.scheduler, device },
    'virtual servers only: the kernel picks endpoints, and no connect is tried again',
  )
  const netfilter = new Netfilter()
  const proxier = makeProxier(context, { families, settings, netfilter })
  const traffic = new Traffic()
  return {
    datapath: {
      sync: (snapshot: Snapshot) => proxier.sync(snapshot),
      drain: () => proxier.drain(),
      close: async () => {
        await proxier.close()
        netfilter.close()
      },
    },
    openConnections: () => 0,
    onSynced: () => undefined,
    status: (snapshot: Snapshot) => ({
      mode: 'ipvs' as const,
      capture: undefined,
      steering: undefined,
      traffic,
      vips: statusVips(snapshot),
      balancerOf: (id: string) => schedulerOf(snapshot, id, settings.scheduler),
      udpSessions: 0,
      affinityClients: 0,
    }),
  }
}

function makeProxier(
  context: IpvsContext,
  {
    families,
    settings,
    netfilter,
  }: {
    readonly families: readonly IpFamily[]
    readonly settings: IpvsSettings
    readonly netfilter: Netfilter
  },
): IpvsProxier {
  const { config, kernel, run, clock, localAddresses, log, metrics, keptFlows } = context
  const Addresses = capabilityOf(kernel, 'dummy devices').usable
    ? DummyDeviceAddresses
    : LocalRouteAddresses
  return new IpvsProxier({
    settings,
    clock,
    localAddresses,
    warn: (message) => {
      log.warn(message)
    },
    deleteStaleFlows: (family, snapshot) =>
      reconcileFlows({ netfilter, clock, metrics, keptFlows }, family, snapshot),
    families: new Map(
      families.map((family) => [
        family,
        new IpvsFamily({
          run,
          clock,
          family,
          iptables: iptablesTool(family, kernel.iptablesVariant),
          addresses: new Addresses(run, family),
          gracefulPeriodMs: config.ipvs.gracefulPeriodMs,
          excludeCidrs: config.ipvs.excludeCidrs,
          metrics,
        }),
      ]),
    ),
  })
}

function requireIpvs(kernel: KernelCapabilities): void {
  const missing = missingOf(kernel, MODE_NEEDS.ipvs)
  if (missing.length === 0) return
  const lines = missing.map(
    ({ name, reason, fix }) => `${name} (${reason ?? 'no reason given'}; try: ${fix ?? 'nothing'})`,
  )
  throw new SluiceError(
    'ERR_CAPABILITY',
    `--proxy-mode ipvs cannot work here, it misses ${lines.join(', ')}; use --proxy-mode auto`,
  )
}

/** As `ipvsadm --set`: 0 leaves a value as it is. What cannot be set is only a warning. */
async function setTimeouts({ config, run, log }: IpvsContext): Promise<void> {
  const { tcpTimeoutMs, tcpFinTimeoutMs, udpTimeoutMs } = config.ipvs
  const seconds = [tcpTimeoutMs, tcpFinTimeoutMs, udpTimeoutMs].map((ms) => Math.round(ms / 1000))
  if (seconds.every((value) => value === 0)) return
  const { status, stderr } = await run('ipvsadm', ['--set', ...seconds.map(String)])
  if (status !== 0) log.warn(`the time-outs of IPVS are not set: ${stderr.trim()}`)
}

/** As the rules of the model have it, which is what the kernel has been brought to. */
function* statusVips(snapshot: Snapshot) {
  for (const [id, state] of snapshot.servicePorts) {
    for (const { kind, address, port } of vipsOf(state.servicePort)) {
      const { verdict } = selectEndpoints(state, kind, 'other')
      yield { servicePortId: id, kind, address: address ?? 'node', port, action: verdict }
    }
  }
}

function schedulerOf(snapshot: Snapshot, id: string, scheduler: string): string {
  const state = snapshot.servicePorts.get(id)
  if (state === undefined) return ''
  const weights = state.cluster.map(({ weight }) => weight)
  return `ipvs ${schedulerFor(state.servicePort, weights, scheduler).scheduler}`
}
