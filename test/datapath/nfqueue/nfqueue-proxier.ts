/** What the map of endpoints is told, with the kernel, the standby and the thread in memory. */
import t from 'tap'

import { loadRunConfig } from '../../../src/config/load.js'
import type { AdoptedElement, EndpointMap } from '../../../src/datapath/nfqueue/endpoint-map.js'
import {
  NfqueueProxier,
  type NfqueueProxierOptions,
} from '../../../src/datapath/nfqueue/nfqueue-proxier.js'
import type { SlotElement } from '../../../src/datapath/nfqueue/slot-table.js'
import { standbyParts } from '../../../src/datapath/nfqueue/standby-parts.js'
import { SteeringCounters } from '../../../src/datapath/nfqueue/steering-counters.js'
import type { Netfilter } from '../../../src/kernel/netfilter.js'
import { SluiceError } from '../../../src/lib/errors.js'
import { SortedMap } from '../../../src/lib/sorted-map.js'
import type { Snapshot } from '../../../src/model/snapshot.js'
import { NO_RULE_METRICS } from '../../../src/observe/rule-metrics.js'
import { DEFAULT_MARK_MASK, markLayoutOf } from '../../../src/packet/mark-layout.js'
import { endpoint, portState, servicePort, snapshotOf } from '../../fixtures/endpoint.js'
import { FakeClock } from '../../fixtures/fake-clock.js'

const layout = markLayoutOf(DEFAULT_MARK_MASK)
const WEB = servicePort({ clusterIp: '10.96.0.1' })
const [ONE, TWO] = [endpoint('10.244.1.2', 8080), endpoint('10.244.2.2', 8080)]
const web = (...endpoints: readonly (typeof ONE)[]) => snapshotOf([portState(WEB, endpoints)])

/** Of a killed predecessor: a slot of the Service port. */
function left(slot: number, ip: string): AdoptedElement {
  return { slot, ip, port: 8080, comment: WEB.id, id: `${ip}:8080` }
}

/** `fails`: how many changes the kernel refuses first. */
class MemoryMap implements EndpointMap {
  readonly capacity = 100
  readonly held = new Map<number, string>()
  readonly #left: readonly AdoptedElement[]
  fails = 0

  constructor(left: readonly AdoptedElement[] = []) {
    this.#left = left
    for (const { slot, ip } of left) this.held.set(slot, ip)
  }

  async read(): Promise<readonly AdoptedElement[]> {
    return this.#left
  }

  async add(elements: readonly SlotElement[]): Promise<void> {
    if (this.fails-- > 0) throw new SluiceError('ERR_TOOL', 'refused')
    for (const { slot, ip } of elements) this.held.set(slot, ip)
  }

  async fill(elements: readonly SlotElement[]): Promise<void> {
    this.held.clear()
    await this.add(elements)
  }

  async remove(slots: readonly number[]): Promise<void> {
    for (const slot of slots) {
      if (!this.held.delete(slot)) throw new SluiceError('ERR_TOOL', `slot ${slot} is not there`)
    }
  }

  async isIntact(): Promise<boolean> {
    return true
  }

  entries(): string[] {
    return [...this.held].map(([slot, ip]) => `${slot} ${ip}`).sort()
  }
}

function make(map: MemoryMap, onStandby: () => void = () => undefined) {
  let generation = 0
  let last: Snapshot | undefined
  const options = {
    config: loadRunConfig(['--manifests', 'none', '--proxy-mode', 'nfqueue']),
    clock: new FakeClock(),
    run: async () => ({ status: 0, stdout: '', stderr: '' }),
    iptablesVariant: '',
    layout,
    families: ['IPv4'],
    netfilter: { changeIpset: () => undefined } as unknown as Netfilter,
    metrics: NO_RULE_METRICS,
    standby: {
      doesNat: true,
      sync: async (snapshot: Snapshot) => {
        onStandby()
        last = snapshot
        return { warnings: [] }
      },
      generation: () => generation,
      partsOf: () => (last === undefined ? SortedMap.empty() : standbyParts(last, 'IPv4').parts),
    },
    endpointMaps: { IPv4: map, IPv6: map },
    thread: { tell: () => undefined, settled: async () => undefined },
    send: () => undefined,
    counters: new SteeringCounters(layout.maxSlot),
    localAddresses: () => [],
    routeLoopback: () => undefined,
  } as unknown as NfqueueProxierOptions
  return {
    proxier: new NfqueueProxier(options),
    makeAnew: () => {
      generation++
      map.held.clear()
    },
  }
}

t.test('endpoints keep the slots of a predecessor, and those that went lose theirs', async (t) => {
  const map = new MemoryMap([left(7, '10.244.2.2'), left(9, '10.244.9.9')])
  const { proxier } = make(map)
  await proxier.sync(web(ONE, TWO))
  t.same(map.entries(), ['10 10.244.1.2', '7 10.244.2.2'])
  await proxier.sync(web(TWO))
  t.same(map.entries(), ['7 10.244.2.2'])
})

t.test('also when the standby makes its tables anew, as other options want them', async (t) => {
  const map = new MemoryMap([left(7, '10.244.2.2'), left(9, '10.244.9.9')])
  const { proxier, makeAnew } = make(map, () => {
    if (map.held.has(9)) makeAnew()
  })
  await proxier.sync(web(ONE, TWO))
  t.same(map.entries(), ['10 10.244.1.2', '7 10.244.2.2'])
})

t.test('a first sync that failed is made good by the next one', async (t) => {
  const map = new MemoryMap([left(7, '10.244.2.2')])
  const { proxier } = make(map)
  map.fails = 1
  await t.rejects(proxier.sync(web(ONE, TWO)), { message: 'refused' })
  await proxier.sync(web(ONE, TWO))
  t.same(map.entries(), ['7 10.244.2.2', '8 10.244.1.2'])
})

t.test('tables that somebody has flushed, in the sync in which an endpoint goes', async (t) => {
  const map = new MemoryMap()
  let isFlushed = false
  const { proxier, makeAnew } = make(map, () => {
    if (isFlushed) makeAnew()
    isFlushed = false
  })
  await proxier.sync(web(ONE, TWO))
  t.equal(map.held.size, 2)
  isFlushed = true
  await proxier.sync(web(TWO))
  t.same(map.entries(), ['2 10.244.2.2'])
})
