/**
 * From the words of the command line, and the file that `--config` names, to values: every problem
 * is found and reported at once, with where it was given, the value and what is allowed.
 */
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import type { NodeSetup } from '../kernel/set-up-node.js'
import { messageOf, SluiceError } from '../lib/errors.js'
import { readConfigFile } from './config-file.js'
import type { CommandName, OptionValues } from './options.js'
import { readWords } from './read-words.js'
import { resolveOptions, type ResolvedOptions } from './resolve-options.js'
import type {
  AutoConfig,
  HealthConfig,
  IpvsConfig,
  NfqueueConfig,
  RunConfig,
  UserspaceConfig,
} from './run-config.js'
import type { BalancerDefaults } from '../policy/balancer/settings.js'

/** Larger is not a configuration. */
const MAX_FILE_BYTES = 1024 * 1024

export interface LoadedRun {
  readonly config: RunConfig
  readonly options: ResolvedOptions
  /** The configuration file as it was read. */
  readonly file: NamedText | undefined
}

export interface NamedText {
  readonly name: string
  readonly text: string
}

/** Values of all options, given or default. Throws SluiceError ERR_USAGE, a line a problem. */
export function parseFlags(command: CommandName, words: readonly string[]): OptionValues {
  const { texts, problems } = readWords(command, words)
  const resolved = resolveOptions(texts)
  throwAll('ERR_USAGE', [...problems, ...resolved.problems])
  return resolved.values
}

/**
 * The configuration of `run`, from the words of a command that takes its options. Throws SluiceError
 * ERR_USAGE or ERR_CONFIG, a line a problem.
 */
export function loadRunConfig(words: readonly string[], command: CommandName = 'run'): RunConfig {
  return loadRun(words, command).config
}

/** The same, with where it comes from. */
export function loadRun(words: readonly string[], command: CommandName = 'run'): LoadedRun {
  const name = readWords(command, words).texts.get('config')
  const file = name === undefined ? undefined : { name, text: readText(name) }
  const options = resolveRun(words, file, command)
  return { config: runConfigOf(options.values), options, file }
}

/** The settings that the words and the file give. Throws ERR_USAGE, with a file ERR_CONFIG. */
export function resolveRun(
  words: readonly string[],
  file: NamedText | undefined,
  command: CommandName = 'run',
): ResolvedOptions {
  const { texts, problems } = readWords(command, words)
  const read = file === undefined ? undefined : readConfigFile(file.name, file.text)
  const options = resolveOptions(texts, read)
  throwAll(file === undefined ? 'ERR_USAGE' : 'ERR_CONFIG', [...problems, ...options.problems])
  return options
}

/** Checks a file by itself, for `check --config`; returns its warnings. Throws ERR_CONFIG. */
export function checkConfigFile(file: string): readonly string[] {
  const { problems, warnings } = resolveOptions(new Map(), readConfigFile(file, readText(file)))
  throwAll('ERR_CONFIG', problems)
  return warnings
}

function readText(name: string): string {
  try {
    const bytes = readFileSync(name)
    if (bytes.length <= MAX_FILE_BYTES) return bytes.toString('utf8')
  } catch (error) {
    throw new SluiceError(
      'ERR_CONFIG',
      `configuration ${name}: ${messageOf(error)}; name a file that can be read`,
      { cause: error },
    )
  }
  throw new SluiceError('ERR_CONFIG', `configuration ${name}: more than ${MAX_FILE_BYTES} bytes`)
}

function throwAll(code: 'ERR_USAGE' | 'ERR_CONFIG', problems: readonly string[]): void {
  if (problems.length > 0) throw new SluiceError(code, problems.join('\n'))
}

const UNSPECIFIED = ['0.0.0.0', '::']

export function runConfigOf(values: OptionValues): RunConfig {
  return {
    manifests: values.manifests,
    kubeconfig: values.kubeconfig,
    master: values.master,
    nodeName: (values.hostnameOverride ?? hostname()).trim().toLowerCase(),
    nodeIp: UNSPECIFIED.includes(values.bindAddress) ? undefined : values.bindAddress,
    proxyMode: values.proxyMode,
    auto: autoConfigOf(values),
    clusterCidrs: values.clusterCidr,
    detectLocalMode: values.detectLocalMode,
    masqueradeAll: values.masqueradeAll,
    nodePortAddresses: values.nodeportAddresses,
    localhostNodePorts: values.localhostNodePorts,
    healthzBindAddress: values.healthzBindAddress,
    metricsBindAddress: values.metricsBindAddress,
    metricsAllowedHosts: values.metricsAllowedHosts,
    metricsPerEndpoint: values.metricsPerEndpoint,
    metricsPerServicePort: values.metricsPerServicePort,
    profiling: values.profiling,
    bindAddressHardFail: values.bindAddressHardFail,
    syncPeriodMs: values.syncPeriod,
    minSyncPeriodMs: values.minSyncPeriod,
    drainTimeoutMs: values.drainTimeout,
    stopHoldMs: values.stopHold,
    affinityMaxClients: values.affinityMaxClients,
    balancers: balancersOf(values),
    iptablesMasqueradeBit: values.iptablesMasqueradeBit,
    userspace: userspaceConfigOf(values),
    nfqueue: nfqueueConfigOf(values),
    nodeSetup: nodeSetupOf(values),
    health: healthConfigOf(values),
    ipvs: ipvsConfigOf(values),
    logLevel: values.logLevel,
    connectionLog: {
      services: values.logConnections,
      samplePercent: values.logConnectionsSample,
      perSecond: values.logConnectionsRate,
    },
  }
}

function autoConfigOf(values: OptionValues): AutoConfig {
  return {
    decidingMode: values.decidingMode,
    fallbackModes: values.fallbackModes,
    thresholds: {
      servicePorts: values.fallbackServicePorts,
      endpoints: values.fallbackEndpoints,
      connectionsPerSecond: values.fallbackConnections,
      queueDropsPerSecond: values.fallbackQueueDrops,
      verdictPercent: values.fallbackVerdictShare,
    },
    returnPercent: values.fallbackReturn,
    holdDownMs: values.fallbackHoldDown,
    samplePeriodMs: values.fallbackSamplePeriod,
  }
}

/** What `run` knows of health checks. */
function healthConfigOf(values: OptionValues): HealthConfig {
  return {
    defaults: {
      check: values.defaultHealthCheck,
      intervalMs: values.healthCheckInterval,
      timeoutMs: values.healthCheckTimeout,
      fastIntervalMs: values.healthCheckFastInterval,
      downIntervalMs: values.healthCheckDownInterval,
      jitterPercent: values.healthCheckJitter,
      rise: values.healthCheckRise,
      fall: values.healthCheckFall,
      initialState: values.healthCheckInitialState,
      execDirectory: values.healthCheckExecDir,
    },
    ejection: {
      baseMs: values.ejectionTime,
      maxMs: values.ejectionMaxTime,
      maxPercent: values.ejectionMaxPercent,
      patienceMs: values.connectPatience,
      byDefault: values.defaultHealthCheck !== 'none',
    },
    maxRunning: values.healthCheckConcurrency,
    panicPercent: values.healthPanicThreshold,
    scope: { scope: values.healthCheckScope, sharePercent: values.healthCheckShare },
  }
}

function userspaceConfigOf(values: OptionValues): UserspaceConfig {
  return {
    capture: values.userspaceCapture,
    relay: values.userspaceRelay,
    maxPipes: values.userspaceMaxPipes,
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
  }
}

function ipvsConfigOf(values: OptionValues): IpvsConfig {
  return {
    scheduler: values.ipvsScheduler,
    excludeCidrs: values.ipvsExcludeCidrs,
    strictArp: values.ipvsStrictArp,
    tcpTimeoutMs: values.ipvsTcpTimeout,
    tcpFinTimeoutMs: values.ipvsTcpFinTimeout,
    udpTimeoutMs: values.ipvsUdpTimeout,
    gracefulPeriodMs: values.ipvsGracefulPeriod,
  }
}

function nfqueueConfigOf(values: OptionValues): NfqueueConfig {
  return {
    queueFirst: values.nfqueueFirst,
    queueCount: values.nfqueueCount,
    queueLength: values.nfqueueLength,
    queueBufferBytes: values.nfqueueBuffer,
    eventBufferBytes: values.conntrackEventBuffer,
    flows: values.nfqueueFlows,
    nice: values.nfqueueNice,
    markMask: values.conntrackMarkMask,
    dnat: values.nfqueueDnat,
  }
}

function nodeSetupOf(values: OptionValues): NodeSetup {
  return {
    conntrackMaxPerCore: values.conntrackMaxPerCore,
    conntrackMin: values.conntrackMin,
    tcpEstablishedTimeoutMs: values.conntrackTcpTimeoutEstablished,
    tcpCloseWaitTimeoutMs: values.conntrackTcpTimeoutCloseWait,
    udpTimeoutMs: values.conntrackUdpTimeout,
    udpStreamTimeoutMs: values.conntrackUdpTimeoutStream,
    tcpBeLiberal: values.conntrackTcpBeLiberal,
    oomScoreAdj: values.oomScoreAdj,
    sysctlRoot: values.sysctlRoot,
  }
}

/** Throws SluiceError ERR_USAGE. */
function balancersOf(values: OptionValues): BalancerDefaults {
  if (values.defaultBalancer === 'plugin' && values.balancerPlugin === undefined) {
    throw new SluiceError(
      'ERR_USAGE',
      '--default-balancer plugin needs the file of the plug-in: --balancer-plugin FILE',
    )
  }
  return {
    name: values.defaultBalancer,
    hashSeed: values.balancerHashSeed,
    maglevTableSize: values.maglevTableSize,
    hashBalanceFactor: values.hashBalanceFactor,
    peakEwmaDecayMs: values.peakEwmaDecay,
    slowStartMs: values.slowStart,
    slowStartFloor: values.slowStartFloor,
    plugin: values.balancerPlugin,
    pluginLimitMs: values.balancerPluginLimit,
  }
}
