/** Where the objects of `run` come from: manifests, else the API server of a kubeconfig or of the Pod. */
import type { RunConfig } from '../config/run-config.js'
import { systemClock } from '../lib/clock.js'
import type { WriteEvent } from '../observe/events.js'
import type { WatchCounts } from '../observe/sluice-metrics.js'
import type { ClusterSource } from '../source/cluster-source.js'
import type { ApiAnswer } from '../source/kubernetes/api-client.js'

/** How long the first sync waits for this Node when everything else is there. */
const NODE_WAIT_MS = 10_000
/** For its pod CIDRs (kube-proxy cmd/kube-proxy/app/server_linux.go waitForPodCIDR). */
const POD_CIDR_WAIT_MS = 300_000
/** kube-proxy's defaults of --kube-api-qps and --kube-api-burst. */
const QPS = 5
const BURST = 10

export interface RunSource {
  readonly source: ClusterSource
  /** To the API server; undefined without one. */
  readonly writeEvent: WriteEvent | undefined
  /** What watching the API server has come to, by kind; undefined without one. */
  readonly watchCounts: (() => ReadonlyMap<string, WatchCounts>) | undefined
}

/**
 * Makes the source. Code of the API server is loaded only when it is asked for.
 * @throws SluiceError ERR_CONFIG for a kubeconfig that is not usable
 */
export async function createSource(
  config: RunConfig,
  version: string,
  onAnswer: (answer: ApiAnswer) => void,
): Promise<RunSource> {
  if (config.manifests !== undefined) {
    const { ManifestSource } = await import('../source/manifests/manifest-source.js')
    const source = new ManifestSource({ path: config.manifests })
    return { source, writeEvent: undefined, watchCounts: undefined }
  }
  const { clusterAccess } = await import('../source/kubernetes/cluster-access.js')
  const { ApiClient } = await import('../source/kubernetes/api-client.js')
  const { eventWriter } = await import('../source/kubernetes/event-writer.js')
  const { KubernetesSource } = await import('../source/kubernetes/kubernetes-source.js')
  const { REFLECTOR_TIMING } = await import('../source/kubernetes/reflector.js')
  const { kubeconfig, master, nodeName, detectLocalMode } = config
  const access = await clusterAccess({ kubeconfig, master })
  const userAgent = `kube-sluice/${version} (${process.platform}/${process.arch})`
  const options = { access, userAgent, qps: QPS, burst: BURST, onAnswer }
  const client = new ApiClient(options)
  // Of its own: events must not make a watch wait.
  const eventClient = new ApiClient(options)
  const source = new KubernetesSource({
    client,
    nodeName,
    clock: systemClock,
    random: Math.random,
    timing: REFLECTOR_TIMING,
    nodeWaitMs: NODE_WAIT_MS,
    podCidrWaitMs: detectLocalMode === 'NodeCIDR' ? POD_CIDR_WAIT_MS : undefined,
  })
  return {
    source,
    writeEvent: eventWriter(eventClient, nodeName),
    watchCounts: () => source.counts,
  }
}
