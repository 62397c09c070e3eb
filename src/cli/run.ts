/**
 * `kube-sluice run`: makes the proxy from its configuration and keeps it going until the signal
 * aborts. A stop drains: no new connections are taken, those that are open get `drainTimeoutMs`,
 * then everything is removed from the kernel.
 */
import type { RunConfig } from '../config/run-config.js'
import { chooseCapture, createCapture } from '../datapath/userspace/capture-selection.js'
import { UserspaceProxier } from '../datapath/userspace/userspace-proxier.js'
import { commandRunner } from '../kernel/command.js'
import { localAddresses } from '../kernel/local-address.js'
import { probeCapabilities } from '../kernel/probe-capability.js'
import { raiseFileLimit } from '../kernel/socket.js'
import { systemClock } from '../lib/clock.js'
import { messageOf } from '../lib/errors.js'
import { buildStatus } from '../observe/build-status.js'
import type { Logger } from '../observe/log.js'
import type { ProxyStatus } from '../observe/status.js'
import { Traffic } from '../observe/traffic.js'
import { AffinityTable } from '../policy/affinity.js'
import { balancerFor, balancerNames } from '../policy/balancer/registry.js'
import { EndpointPicker } from '../policy/endpoint-picker.js'
import { ManifestSource } from '../source/manifests/manifest-source.js'
import { ServiceProxy } from '../sync/service-proxy.js'
import { serveHttp } from './run-http.js'

/** A relayed connection takes two descriptors, a VIP one. */
const WANTED_FILES = 1_048_576

export interface RunContext {
  /** Aborts when the process is to stop. */
  readonly signal: AbortSignal
  readonly log: Logger
  readonly version: string
}

/** Runs until the signal aborts; returns the exit status. Throws SluiceError when it cannot start. */
export async function run(config: RunConfig, context: RunContext): Promise<number> {
  const { log, signal, version } = context
  const startedAt = new Date()
  const fileLimit = raiseFileLimit(WANTED_FILES)
  const { capture, traffic, affinity, picker } = await makeParts(config, log)
  const datapath = new UserspaceProxier({
    config,
    clock: systemClock,
    capture,
    picker,
    traffic,
    localAddresses,
  })
  const http = await serveHttp(config, log, (): ProxyStatus => {
    return buildStatus({
      version,
      node: config.nodeName,
      mode: 'userspace',
      capture: capture.name,
      startedAt: startedAt.toISOString(),
      uptimeSeconds: Math.round((Date.now() - startedAt.getTime()) / 1000),
      lastSyncAt: proxy.lastSyncAt?.toISOString(),
      lastSyncError: proxy.lastSyncError,
      warnings: proxy.warnings,
      snapshot: proxy.snapshot,
      traffic,
      vips: datapath.vips.values(),
      balancerOf: (id) => picker.balancerOf(id) ?? '',
      udpSessions: datapath.udpSessions,
      affinityClients: affinity.size,
    })
  })
  const proxy = new ServiceProxy({
    nodeName: config.nodeName,
    source: new ManifestSource({ path: config.manifests }),
    datapath,
    clock: systemClock,
    log,
    minSyncPeriodMs: config.minSyncPeriodMs,
    syncPeriodMs: config.syncPeriodMs,
    onQueued: () => {
      http.health.queued()
    },
    onSynced: () => {
      http.health.synced()
      affinity.sweep(systemClock.nowMs())
    },
  })
  log.info({ node: config.nodeName, capture: capture.name, fileLimit, version }, 'starting')
  try {
    await proxy.start()
    await aborted(signal)
  } finally {
    await proxy.stop()
    await shutDown(datapath, config, log)
    await http.close()
  }
  return 0
}

async function makeParts(config: RunConfig, log: Logger) {
  const runCommand = commandRunner()
  const kernel = await probeCapabilities(runCommand)
  const chosen = chooseCapture(config.userspace.capture, kernel)
  log.info({ capture: chosen.name, reason: chosen.reason }, 'capture chosen')
  const capture = createCapture(chosen.name, {
    run: runCommand,
    localAddresses,
    clock: systemClock,
    iptablesVariant: kernel.iptablesVariant,
    tproxyMarkBit: config.userspace.tproxyMarkBit,
    warn: (message) => {
      log.warn(message)
    },
  })
  const affinity = new AffinityTable({ maxClients: config.affinityMaxClients })
  const picker = new EndpointPicker({
    affinity,
    clock: systemClock,
    random: Math.random,
    balancerFor: ({ id, annotations }) =>
      balancerFor(annotations, (name) => {
        log.warn(
          { servicePort: id, balancer: name },
          `Service port ${id}: annotation kube-sluice.io/balancer: no balancer "${name}"; ` +
            `round-robin it is, choose one of: ${balancerNames().join(', ')}`,
        )
      }),
  })
  return { capture, affinity, picker, traffic: new Traffic() }
}

async function shutDown(datapath: UserspaceProxier, config: RunConfig, log: Logger): Promise<void> {
  const connections = datapath.tcpConnections
  log.info({ connections, drainTimeoutMs: config.drainTimeoutMs }, 'draining')
  await datapath.drain(AbortSignal.timeout(config.drainTimeoutMs))
  const reset = datapath.tcpConnections
  try {
    await datapath.close()
  } catch (error) {
    log.error(
      { error: messageOf(error) },
      'not everything could be removed from the kernel; run: kube-sluice cleanup',
    )
  }
  log.info({ reset }, 'stopped')
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  // The interval keeps the process going when there is nothing to serve.
  const keepAlive = setInterval(() => undefined, 60_000)
  await new Promise<void>((resolve) => {
    signal.addEventListener(
      'abort',
      () => {
        resolve()
      },
      { once: true },
    )
  })
  clearInterval(keepAlive)
}
