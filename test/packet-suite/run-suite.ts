/** Runs the suite against a mode: a start of the proxy for each configuration, all probes at once. */
import { adapted, problemOf, wantedNames } from './compare.js'
import { CONFIGURATIONS, type ConfigurationName } from './configurations.js'
import { toolsFolder } from './iptables-tools.js'
import { manifestsOf, NODE } from './manifests.js'
import { type ModeName, modeOf } from './modes.js'
import { type SuiteNetwork } from './network.js'
import type { Destination, Expectation, Protocol, Source } from './packet-case.js'
import { placeOf, SOURCES, targetOf } from './place.js'
import { type Probe, probeAll } from './probe.js'
import { casesOf, SERVICES, type SingleCase } from './suite.js'

/** Long: a user-mode kernel on a busy machine is slow. Only what fails waits for it. */
const REPLY_MS = 40_000
/** For all answers of a client. */
const CALL_MS = 240_000
/** How long to listen for an answer that must not come. */
const SILENCE_MS = 700
/** Two endpoints at random: that one stays away from 60 connections is a chance of 2^-59. */
const MOST = 60
const LEAST = 4
const AT_ONCE = 24

export interface CaseResult {
  readonly name: string
  /** What went wrong, a line each; empty when all is well. */
  readonly problems: readonly string[]
}

export interface SuiteRun {
  readonly mode: ModeName
  readonly network: SuiteNetwork
  readonly configuration: ConfigurationName
  readonly extraFlags?: readonly string[]
}

interface AskedCase {
  readonly case: SingleCase
  readonly number: number
  readonly to: readonly Destination[]
  readonly expect: Expectation
  readonly family: 'IPv4' | 'IPv6'
  readonly protocol: Protocol
}

/** Results in the order of the suite. */
export async function runConfiguration(run: SuiteRun): Promise<CaseResult[]> {
  const { cluster, clients, sctpClients } = run.network
  const mode = modeOf(run.mode)
  const services = SERVICES.filter(
    ({ service }) => (service.configuration ?? 'default') === run.configuration,
  )
  cluster.write([NODE, ...services.flatMap(({ service, number }) => manifestsOf(service, number))])
  const { flags } = CONFIGURATIONS[run.configuration]
  const tools = mode.tools === undefined ? undefined : toolsFolder(mode.tools)
  const folders = tools === undefined ? [] : [tools.path]
  const proxy = await cluster.startPlainProxy(
    [...flags, ...mode.flags, ...(run.extraFlags ?? [])],
    folders,
  )
  try {
    const asked = services.flatMap((numbered) =>
      casesOf(numbered)
        .flatMap((one) => spread(one, numbered.number, run.mode))
        .filter(({ protocol }) => protocol !== 'SCTP' || mode.withoutSctp === undefined),
    )
    const problems = new Map<SingleCase, string[]>(asked.map((one) => [one.case, []]))
    await Promise.all(
      (Object.keys(clients) as Source[]).map(async (source) => {
        const mine = asked.filter((one) => one.case.from === source)
        const [sctp, others] = [true, false].map((isSctp) =>
          mine.filter(({ protocol }) => (protocol === 'SCTP') === isSctp),
        ) as [AskedCase[], AskedCase[]]
        const asking = Promise.all([
          clients[source].run(
            probeAll,
            { probes: others.map((one) => probeOf(one)), atOnce: AT_ONCE },
            CALL_MS,
          ),
          sctpClients[source].askAll(sctp.map((one) => probeOf(one))),
        ])
        const answers = (await asking).flat()
        for (const [index, one] of [...others, ...sctp].entries()) {
          const said = answers[index] ?? []
          const expect = adapted(one.expect, mode)
          const problem = problemOf(expect, said, { ...one, from: source })
          if (problem !== undefined) problems.get(one.case)!.push(`${one.protocol} ${problem}`)
        }
      }),
    )
    if (proxy.child.exitCode !== null) throw new Error(`the proxy ended: ${proxy.log()}`)
    return [...problems].map(([one, lines]) => ({ name: one.name, problems: lines }))
  } finally {
    await proxy.stop()
    tools?.remove()
  }
}

/** A case in each of its families and protocols. */
function spread(one: SingleCase, number: number, mode: ModeName): AskedCase[] {
  const expect = one.except?.[mode]?.expect ?? one.expect
  const isEach = expect.kind === 'sticky' && expect.each === true
  const groups = isEach ? one.to.map((to) => [to]) : [one.to]
  return one.families.flatMap((family) =>
    one.protocols.flatMap((protocol) =>
      groups.map((to) => ({ case: one, number, to, expect, family, protocol })),
    ),
  )
}

function probeOf({ case: one, number, to, expect, family, protocol }: AskedCase): Probe {
  const isAnswered = expect.kind === 'answered' || expect.kind === 'sticky'
  const isSilent = expect.kind === 'dropped'
  return {
    targets: to.map((destination) => targetOf(destination, placeOf(number, family))),
    udp: protocol === 'UDP',
    isHealth: expect.kind === 'health',
    source: to[0] === 'node-port-loopback' ? undefined : SOURCES[one.from][family],
    least: isAnswered ? LEAST : 2,
    most: isAnswered ? MOST : 2,
    wanted: wantedNames(expect),
    inOrder: expect.kind === 'sticky',
    timeoutMs: isSilent ? SILENCE_MS : REPLY_MS,
  }
}
