/** The first sync of a process also ends what earlier ones have left in other modes. */
import { capabilityOf, type KernelCapabilities } from '../kernel/probe-capability.js'
import { iptablesTool } from '../kernel/iptables.js'
import type { RunConfig } from '../config/run-config.js'
import type { CleanupResult } from './cleanup-steps.js'
import { steeringDnat } from './mode-needs.js'
import type { OtherModes, OwnPart } from './other-modes.js'
import type { ModeContext, ModeStatus, RunningMode } from './running-mode.js'

export type TakeOverContext = Pick<ModeContext, 'config' | 'kernel' | 'run' | 'log'>

/** The mode, whose first sync removes the others' after its own are in force, and says what went. */
export function takingOver(mode: RunningMode, context: TakeOverContext): RunningMode {
  const { datapath } = mode
  let isFirst = true
  return {
    ...mode,
    datapath: {
      ...(datapath.endConnections && {
        endConnections: datapath.endConnections.bind(datapath),
      }),
      ...(datapath.reconfigure && { reconfigure: datapath.reconfigure.bind(datapath) }),
      ...(datapath.replacePlugin && { replacePlugin: datapath.replacePlugin.bind(datapath) }),
      sync: async (snapshot) => {
        if (!isFirst) return datapath.sync(snapshot)
        // It needs something of every mode, and is loaded while the tools of the sync run.
        const removal = import('./other-modes.js')
        const result = await datapath.sync(snapshot)
        isFirst = false
        await removeOthers((await removal).removeOtherModes, mode.status(snapshot), context)
        return result
      },
      drain: (signal) => datapath.drain(signal),
      close: () => datapath.close(),
    },
  }
}

async function removeOthers(
  removeOtherModes: (modes: OtherModes) => Promise<CleanupResult>,
  status: ModeStatus,
  { config, kernel, run, log }: TakeOverContext,
): Promise<void> {
  const { removed, problems } = await removeOtherModes({
    run,
    toolOf: (family) => iptablesTool(family, kernel.iptablesVariant),
    own: ownParts(status, config, kernel),
  })
  if (removed.length > 0) {
    const [first] = removed
    log.info(
      { count: removed.length, first },
      'what an earlier process had in another mode is gone',
    )
  }
  for (const problem of problems) {
    log.warn(
      `what an earlier process had in another mode stays: ${problem}; stop, and run: kube-sluice cleanup`,
    )
  }
}

/** What this process has in the kernel, by what its status says. */
export function ownParts(
  { mode, capture, auto }: Pick<ModeStatus, 'mode' | 'capture' | 'auto'>,
  config: RunConfig,
  kernel: KernelCapabilities,
): ReadonlySet<OwnPart> {
  const own = new Set<OwnPart>()
  const modes = auto === undefined ? [mode] : [mode, auto.deciding, auto.fallback]
  for (const one of modes) {
    if (one === 'userspace') {
      if (capture !== undefined) own.add(capture)
      // Its VIPs are local addresses too.
      if (capture === 'tproxy') own.add('anyip')
    } else own.add(one)
    if (one === 'nfqueue') own.add(steeringDnat(config.nfqueue.dnat, kernel))
    // Its VIPs are local routes where the kernel has no dummy devices.
    if (one === 'ipvs' && !capabilityOf(kernel, 'dummy devices').usable) own.add('anyip')
  }
  if (auto !== undefined) own.add('auto')
  return own
}
