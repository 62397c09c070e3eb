/**
 * What one pick costs: nanoseconds, and bytes allocated, of every balancer on 2, 100 and 10,000
 * endpoints, with the notifications that a connection brings (onConnect, and onClose of one that was
 * picked 64 picks before). Round robin is the peer.
 *
 *   node --expose-gc perf/micro/balancers.mjs
 */
import { BALANCER_NAMES, createBalancer } from '../../dist/policy/balancer/registry.js'
import { BALANCER_DEFAULTS } from '../../dist/policy/balancer/settings.js'
import { median, table } from '../statistics.mjs'

const SIZES = [2, 100, 10_000]
const PICKS = 50_000
const ROUNDS = 3
const OPEN = 64

const gc = globalThis.gc
if (gc === undefined) {
  console.error('perf: start it with node --expose-gc')
  process.exit(2)
}

const context = { clientIp: '10.0.0.1', clientPort: 0, nowMs: 0, random: 0 }
const clients = Array.from({ length: 256 }, (_, i) => `10.0.${i >> 4}.${i}`)
const nothingTried = []

function endpointsOf(count) {
  return Array.from({ length: count }, (_, i) => {
    const ip = `10.${1 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`
    return { id: `${ip}:80`, ip, port: 80, weight: 1 + (i % 4) }
  })
}

/** Nanoseconds and bytes of one pick, with its notifications. */
function measure(balancer) {
  const ring = new Array(OPEN)
  const spin = (picks) => {
    let state = 1
    for (let i = 0; i < picks; i++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
      context.random = state / 0x80000000
      context.clientIp = clients[i & 255]
      context.clientPort = i & 0xffff
      context.nowMs = i * 0.1
      const place = i & (OPEN - 1)
      if (ring[place] !== undefined) balancer.onClose?.(ring[place])
      const picked = balancer.pick(context, nothingTried)
      balancer.onConnect?.(picked)
      ring[place] = picked
    }
  }
  spin(PICKS)
  const started = process.hrtime.bigint()
  spin(PICKS)
  const took = Number(process.hrtime.bigint() - started)
  // Of two runs of different length, so that what a run costs by itself does not count.
  const growth = (picks) => {
    gc()
    const before = process.memoryUsage().heapUsed
    spin(picks)
    return process.memoryUsage().heapUsed - before
  }
  return { ns: took / PICKS, bytes: (growth(4 * PICKS) - growth(PICKS)) / (3 * PICKS) }
}

for (const size of SIZES) {
  const endpoints = endpointsOf(size)
  const rounds = BALANCER_NAMES.map(() => [])
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, name] of BALANCER_NAMES.entries()) {
      const balancer = createBalancer({ ...BALANCER_DEFAULTS, name, hashesPort: true })
      balancer.setEndpoints(endpoints)
      rounds[index].push(measure(balancer))
    }
  }
  const peer = median(rounds[0].map(({ ns }) => ns))
  console.log(`\n${size} endpoints, medians of ${ROUNDS} rounds`)
  console.log(
    table([
      ['balancer', 'ns/pick', 'to round-robin', 'bytes/pick'],
      ...BALANCER_NAMES.map((name, index) => {
        const ns = median(rounds[index].map((one) => one.ns))
        const bytes = median(rounds[index].map((one) => one.bytes))
        return [name, ns.toFixed(0), (ns / peer).toFixed(2), bytes.toFixed(1)]
      }),
    ]),
  )
}
