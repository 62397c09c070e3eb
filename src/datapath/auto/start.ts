/** Puts the automatic switch together: the mode that decides, the rules past the threshold, the selector. */
import { iptablesTool } from '../../kernel/iptables.js'
import { familiesOf } from '../mode-needs.js'
import type { Snapshot } from '../../model/snapshot.js'
import { chooseMode } from '../choose-mode.js'
import { startIptables } from '../iptables/start.js'
import { startIpvs } from '../ipvs/start.js'
import { removeModeRules } from '../leftovers.js'
import { startNfqueue } from '../nfqueue/start.js'
import { startNftables } from '../nftables/start.js'
import type { DecidingMode, ModeContext, ModeStatus, RunningMode } from '../running-mode.js'
import { startUserspace } from '../userspace/start.js'
import { AutoDatapath } from './auto-datapath.js'
import { type ConnectionCounter, IpvsCounter, RuleCounter } from './connection-counter.js'
import { type FallbackMode, fallbackLadder } from './fallback-ladder.js'
import { ModeSelector } from './mode-selector.js'
import { staysInUserspace } from './stay-annotation.js'

const RULES: Readonly<
  Record<FallbackMode, (context: ModeContext) => RunningMode | Promise<RunningMode>>
> = { ipvs: startIpvs, nftables: startNftables, iptables: startIptables }

type Switch = NonNullable<NonNullable<ModeStatus['auto']>['lastSwitch']>

/** @throws SluiceError when the mode that decides cannot start */
export async function startAuto(context: ModeContext): Promise<RunningMode> {
  const { config, kernel, log } = context
  const { decidingMode: asked } = config.auto
  const chosen = asked === 'auto' ? chooseMode(kernel) : { mode: asked, reason: 'as configured' }
  log.info(chosen, 'mode chosen')
  const deciding: DecidingMode =
    chosen.mode === 'nfqueue' ? await startNfqueue(context) : startUserspace(context)
  const ladder = fallbackLadder(kernel, config.auto.fallbackModes, deciding.handOver)
  const fallback = ladder.find(({ obstacle }) => obstacle === undefined)?.mode
  if (fallback === undefined) {
    const why = ladder.map(({ mode, obstacle }) => `${mode}: ${obstacle ?? ''}`).join('; ')
    log.warn(`${chosen.mode} is never left, no mode of rules can take its place: ${why}`)
    return deciding
  }
  log.info({ fallback, ladder }, `past a threshold ${fallback} takes over`)
  return withFallback(context, { deciding, name: chosen.mode, fallback })
}

interface Parts {
  readonly deciding: DecidingMode
  readonly name: 'nfqueue' | 'userspace'
  readonly fallback: FallbackMode
}

async function withFallback(context: ModeContext, parts: Parts): Promise<RunningMode> {
  const { config, clock, log, run, kernel } = context
  const { deciding, name, fallback } = parts
  const isStandby = deciding.handOver.standby === fallback
  const keptFlows = () => deciding.handOver.sessionDestinations()
  const rules = isStandby ? undefined : await RULES[fallback]({ ...context, keptFlows })
  const selector = new ModeSelector(config.auto)
  let lastSwitch: Switch | undefined
  let switches = 0
  const datapath = new AutoDatapath({
    deciding,
    rules: rules?.datapath,
    selector,
    counter: counterOf(context, fallback),
    countsAll: fallback !== 'ipvs' && name === 'nfqueue',
    clock,
    log,
    samplePeriodMs: config.auto.samplePeriodMs,
    onSwitch: (usesRules, reason) => {
      const [from, to] = usesRules ? [name, fallback] : [fallback, name]
      lastSwitch = { at: new Date().toISOString(), from, to, reason }
      switches++
      log.info(lastSwitch, 'mode switched')
      context.onSwitch(`from ${from} to ${to}: ${reason}`)
    },
  })
  return {
    datapath: {
      sync: (snapshot) => datapath.sync(snapshot),
      endConnections: datapath.endConnections.bind(datapath),
      reconfigure: datapath.reconfigure.bind(datapath),
      replacePlugin: datapath.replacePlugin.bind(datapath),
      drain: (signal) => datapath.drain(signal),
      close: async () => {
        await datapath.close()
        // They are empty. When they serve they go on.
        if (rules !== undefined && !datapath.usesRules) await removeModeRules(run, kernel, fallback)
      },
    },
    ...(deciding.foresee && { foresee: deciding.foresee }),
    ...(deciding.relayed && { relayed: deciding.relayed }),
    readCounters: async () => {
      await deciding.readCounters?.()
      if (datapath.usesRules) await rules?.readCounters?.()
    },
    openConnections: deciding.openConnections,
    onSynced: () => {
      deciding.onSynced()
      rules?.onSynced()
    },
    status: (snapshot) => ({
      ...statusOf(snapshot, { ...parts, rules, usesRules: datapath.usesRules }),
      auto: { deciding: name, fallback, thresholds: selector.thresholds(), switches, lastSwitch },
    }),
  }
}

/** What the rules serve is not decided here. */
function statusOf(
  snapshot: Snapshot,
  {
    deciding,
    fallback,
    rules,
    usesRules,
  }: Parts & { readonly rules: RunningMode | undefined; readonly usesRules: boolean },
): ModeStatus {
  const status = deciding.status(snapshot)
  if (!usesRules) return status
  const ruled = rules?.status(snapshot)
  const isTaken = (id: string): boolean => {
    const port = snapshot.servicePorts.get(id)?.servicePort
    return port === undefined || staysInUserspace(port)
  }
  const vips = [...status.vips].map((vip) =>
    isTaken(vip.servicePortId) ? vip : { ...vip, action: 'rules' },
  )
  return {
    ...status,
    mode: fallback,
    vips,
    balancerOf: (id) => (isTaken(id) ? status.balancerOf(id) : (ruled?.balancerOf(id) ?? 'random')),
  }
}

function counterOf({ run, kernel }: ModeContext, fallback: FallbackMode): ConnectionCounter {
  if (fallback === 'ipvs') return new IpvsCounter()
  return new RuleCounter(
    run,
    familiesOf(kernel, 'iptables').map((family) => iptablesTool(family, kernel.iptablesVariant)),
  )
}
