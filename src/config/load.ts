/**
 * From the words of the command line to values: every problem is found and reported at once, with
 * the flag, what was given and what is allowed.
 */
import { hostname } from 'node:os'
import { SluiceError } from '../lib/errors.js'
import { nearestName } from '../lib/nearest-name.js'
import {
  ABSENT_FLAGS,
  OPTIONS,
  optionsOf,
  type CommandName,
  type OptionKey,
  type OptionRow,
  type OptionValues,
} from './options.js'
import type { RunConfig } from './run-config.js'

/** Values of all options, given or default. Throws SluiceError ERR_USAGE, a line a problem. */
export function parseFlags(command: CommandName, words: readonly string[]): OptionValues {
  const problems: string[] = []
  const rows = optionsOf(command)
  const given = new Map<string, string>()
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? ''
    const [name, inline] = splitWord(word)
    const row = rows.find(({ flag, short }) => name === `--${flag}` || name === `-${short ?? ''}`)
    if (row === undefined) {
      problems.push(unknownFlag(command, word, rows))
      continue
    }
    if (inline !== undefined) given.set(row.flag, inline)
    else if (row.type.placeholder === undefined) given.set(row.flag, 'true')
    else if (words[i + 1] === undefined) problems.push(`--${row.flag} needs a value`)
    else given.set(row.flag, words[++i] ?? '')
  }
  const values: Partial<Record<OptionKey, unknown>> = {}
  for (const [key, row] of Object.entries(OPTIONS) as [OptionKey, OptionRow][]) {
    const text = given.get(row.flag) ?? row.default
    if (text === undefined) continue
    const parsed = row.type.parse(text)
    if ('value' in parsed) values[key] = parsed.value
    else problems.push(`--${row.flag} "${text}" ${parsed.problem}`)
  }
  if (problems.length > 0) throw new SluiceError('ERR_USAGE', problems.join('\n'))
  return values as OptionValues
}

/** The configuration of `run`. Throws SluiceError ERR_USAGE. */
export function loadRunConfig(words: readonly string[]): RunConfig {
  const values = parseFlags('run', words)
  if (values.manifests === undefined) {
    throw new SluiceError(
      'ERR_USAGE',
      '--manifests is missing: name the file or folder with the Services and EndpointSlices',
    )
  }
  return {
    manifests: values.manifests,
    nodeName: (values.hostnameOverride ?? hostname()).trim().toLowerCase(),
    proxyMode: values.proxyMode,
    clusterCidrs: values.clusterCidr,
    detectLocalMode: values.detectLocalMode,
    masqueradeAll: values.masqueradeAll,
    nodePortAddresses: values.nodeportAddresses,
    localhostNodePorts: values.localhostNodePorts,
    healthzBindAddress: values.healthzBindAddress,
    metricsBindAddress: values.metricsBindAddress,
    bindAddressHardFail: values.bindAddressHardFail,
    syncPeriodMs: values.syncPeriod,
    minSyncPeriodMs: values.minSyncPeriod,
    drainTimeoutMs: values.drainTimeout,
    affinityMaxClients: values.affinityMaxClients,
    balancers: { name: values.defaultBalancer },
    userspace: {
      capture: values.userspaceCapture,
      connectAttempts: values.connectAttempts,
      connectTimeoutMs: values.connectTimeout,
      retryBudgetPercent: values.retryBudget,
      retryMinConcurrency: values.retryMinConcurrency,
      maxConnections: values.maxConnections,
      tcpIdleTimeoutMs: values.tcpIdleTimeout,
      tcpHalfCloseTimeoutMs: values.tcpHalfCloseTimeout,
      udpTimeoutMs: values.udpTimeout,
      udpStreamTimeoutMs: values.udpStreamTimeout,
      udpMaxSessions: values.udpMaxSessions,
      tproxyMarkBit: values.tproxyMarkBit,
    },
    nfqueue: {
      queueFirst: values.nfqueueFirst,
      queueCount: values.nfqueueCount,
      queueLength: values.nfqueueLength,
      queueBufferBytes: values.nfqueueBuffer,
      eventBufferBytes: values.conntrackEventBuffer,
      flows: values.nfqueueFlows,
      markMask: values.conntrackMarkMask,
      dnat: values.nfqueueDnat,
    },
    logLevel: values.logLevel,
  }
}

function splitWord(word: string): [string, string | undefined] {
  const equals = word.startsWith('-') ? word.indexOf('=') : -1
  return equals < 0 ? [word, undefined] : [word.slice(0, equals), word.slice(equals + 1)]
}

function unknownFlag(command: CommandName, word: string, rows: readonly OptionRow[]): string {
  const flag = word.replace(/^-+/, '').split('=', 1)[0] ?? ''
  const absent = ABSENT_FLAGS.get(flag)
  if (absent !== undefined) return `--${flag} is not known: ${absent}`
  const nearest = nearestName(
    flag,
    rows.map((row) => row.flag),
  )
  const hint = nearest === undefined ? '' : `; did you mean --${nearest}?`
  return `${word} is not known to "kube-sluice ${command}"${hint}`
}
