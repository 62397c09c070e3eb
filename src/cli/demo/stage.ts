/**
 * Everything of the demo that is real: namespaces, pods, clients, the proxy, and a temporary folder
 * with the manifests and the log. Owns them all; close() or closeSync() removes them.
 */
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { SluiceError } from '../../lib/errors.js'
import { NetworkNamespaces } from '../../kernel/netns.js'
import { DemoChild } from './child.js'
import { copyExamples, moveEndpoints } from './manifests.js'
import type { LoadOrder, LoadReport, PodNews, PodOrder, ProxyNews } from './messages.js'
import { DemoNetwork } from './network.js'
import {
  HEALTHZ,
  METRICS,
  NETNS_PREFIX,
  NODE_NAME,
  planServices,
  type PodAddresses,
  type PodPlan,
  type ServicePlan,
} from './topology.js'

const MAIN = fileURLToPath(new URL('../main.js', import.meta.url))
const LOG_TAIL_LINES = 15
const DEATH_TIMEOUT_MS = 3_000

const WORKERS = 8
const REQUEST_TIMEOUT_MS = 5_000
/** With eight workers, about 200 requests a second and Service: two cores can tell the tale and draw it. */
const PAUSE_MS = 35

type Pod = DemoChild<PodOrder, PodNews>
export type Load = DemoChild<LoadOrder, LoadReport>

export class Stage {
  readonly services: readonly ServicePlan[]
  readonly #namespaces: NetworkNamespaces
  readonly #network: DemoNetwork
  readonly #folder: string
  readonly #logFd: number
  readonly #pods = new Map<string, Pod>()
  #proxy: ChildProcess | undefined

  private constructor(namespaces: NetworkNamespaces, network: DemoNetwork) {
    this.#namespaces = namespaces
    this.#network = network
    this.services = planServices(network.hasIpv6)
    this.#folder = mkdtempSync(path.join(tmpdir(), `${NETNS_PREFIX}-${process.pid}-`))
    this.#logFd = openSync(path.join(this.#folder, 'log'), 'a')
  }

  /** The client and the node, nothing in them yet. Throws SluiceError, and leaves nothing then. */
  static async create(): Promise<Stage> {
    const namespaces = new NetworkNamespaces(NETNS_PREFIX)
    const removeAtExit = (): void => {
      namespaces.closeSync()
    }
    process.once('exit', removeAtExit)
    try {
      return new Stage(namespaces, await DemoNetwork.create(namespaces))
    } catch (error) {
      await namespaces.close()
      throw error
    } finally {
      process.off('exit', removeAtExit)
    }
  }

  get hasIpv6(): boolean {
    return this.#network.hasIpv6
  }

  /** Nine namespaces with a server in each. Throws SluiceError. */
  async startPods(onStep: (text: string) => void): Promise<void> {
    const pods = this.services.flatMap((service) => service.pods)
    // One `ip` after the other; the servers start up meanwhile.
    const starts: Promise<void>[] = []
    for (const [index, pod] of pods.entries()) {
      onStep(`pod ${index + 1} of ${pods.length}: ${pod.name}`)
      await this.#network.addPod(pod)
      const start = this.#serve(pod, pod.first)
      start.catch(() => undefined)
      starts.push(start)
    }
    await Promise.all(starts)
  }

  /** The proxy, as a user would start it, on the node. Resolves when it is healthy. Throws SluiceError. */
  async startProxy(onNews: (news: ProxyNews) => void): Promise<void> {
    const manifests = path.join(this.#folder, 'manifests')
    await mkdir(manifests)
    await copyExamples(manifests, this.hasIpv6)
    const command = [
      MAIN,
      'run',
      ...['--manifests', manifests],
      ...['--proxy-mode', 'userspace'],
      ...['--hostname-override', NODE_NAME],
      ...['--healthz-bind-address', HEALTHZ],
      ...['--metrics-bind-address', METRICS],
    ]
    const node = this.#network.node
    this.#proxy = this.#namespaces.spawn(node, [process.execPath, ...command], {
      stdio: ['ignore', this.#logFd, this.#logFd],
    })
    const watch = new DemoChild<object, ProxyNews>({
      namespaces: this.#namespaces,
      netns: node,
      name: 'watcher of the proxy',
      script: 'proxy-watch',
      logFd: this.#logFd,
    })
    watch.onNews(onNews)
    const healthy = watch.waitFor('sign of a healthy proxy', ({ type }) => type === 'healthy')
    watch.tell({ type: 'start' })
    await Promise.race([healthy, this.proxyEnded()])
  }

  /** Rejects when the proxy ends, which it should not; never resolves. */
  proxyEnded(): Promise<never> {
    return new Promise((_, reject) => {
      const fail = (how: string): void => {
        reject(new SluiceError('ERR_TOOL', `kube-sluice run: ended with ${how} during the demo`))
      }
      const proxy = this.#proxy
      if (proxy === undefined) return
      if (proxy.exitCode !== null || proxy.signalCode !== null) {
        fail(proxy.signalCode ?? `status ${String(proxy.exitCode)}`)
        return
      }
      proxy.once('error', (error) => {
        fail(error.message)
      })
      proxy.once('exit', (code, signal) => {
        fail(signal ?? `status ${String(code)}`)
      })
    })
  }

  /** Starts the clients of one Service, in the client's namespace. */
  startLoad(service: ServicePlan, onReport: (report: LoadReport) => void): Load {
    const load: Load = new DemoChild({
      namespaces: this.#namespaces,
      netns: this.#network.client,
      name: `clients of ${service.name}`,
      script: 'load',
      logFd: this.#logFd,
    })
    load.onNews(onReport)
    load.tell({
      type: 'start',
      service: service.name,
      targets: service.targets,
      workers: WORKERS,
      pauseMs: PAUSE_MS,
      timeoutMs: REQUEST_TIMEOUT_MS,
    })
    return load
  }

  /** SIGKILL takes a pod's process; its namespace stays, so connects are refused. Resolves when it is dead. */
  async kill(plan: PodPlan): Promise<void> {
    const pod = this.#pods.get(plan.name)
    pod?.tell({ type: 'die' })
    await pod?.ended(DEATH_TIMEOUT_MS)
  }

  takeLinkDown(plan: PodPlan): Promise<void> {
    return this.#network.takeLinkDown(plan)
  }

  bringLinkUp(plan: PodPlan): Promise<void> {
    return this.#network.bringLinkUp(plan)
  }

  /** Starts killed pods again at their second addresses and edits the EndpointSlices. */
  async bringBack(plans: readonly PodPlan[]): Promise<void> {
    await Promise.all(
      plans.map(async (plan) => {
        await this.#network.addAddresses(plan, plan.second)
        await this.#serve(plan, plan.second)
      }),
    )
    await moveEndpoints(path.join(this.#folder, 'manifests'), plans)
  }

  /** The end of what the proxy and the children have logged. */
  logTail(): string {
    const text = readFileSync(path.join(this.#folder, 'log'), 'utf8')
    return text.trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n')
  }

  /** Ends every process, removes every namespace and the folder. Idempotent. */
  async close(): Promise<void> {
    await this.#namespaces.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** The same at once, for an `exit` handler. */
  closeSync(): void {
    this.#namespaces.closeSync()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #serve(plan: PodPlan, { ipv4, ipv6 }: PodAddresses): Promise<void> {
    const pod: Pod = new DemoChild({
      namespaces: this.#namespaces,
      netns: this.#network.podNetns(plan),
      name: `pod ${plan.name}`,
      script: 'pod',
      logFd: this.#logFd,
    })
    this.#pods.set(plan.name, pod)
    const news = pod.waitFor('sign of life', () => true)
    pod.tell({
      type: 'serve',
      service: plan.service,
      pod: plan.name,
      addresses: ipv6 === undefined ? [ipv4] : [ipv4, ipv6],
      port: plan.port,
    })
    const answer = await news
    if (answer.type === 'failed') {
      throw new SluiceError('ERR_LISTEN', `pod ${plan.name}: ${answer.message}`)
    }
  }
}
