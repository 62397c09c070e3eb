/**
 * The nfqueue mode against what a kernel does alone, against HAProxy, and against the bare queue; and
 * how long it takes to program 250,000 endpoints.
 */
import { POD_IPS } from '../contenders.mjs'
import { slice } from '../peers.mjs'
import { manifestsOf, startDaemon } from '../daemon.mjs'
import { NODE_SYSCTLS, runVersus } from '../versus.mjs'

const KERNEL = ['kernel', 'iptables-1', 'iptables-1000', 'iptables-10000']
const QUEUE = ['queue', 'queue-spin']
const OURS = ['nfqueue-2', 'nfqueue-10000', 'nfqueue-250000']

/** @param {readonly string[]} args @returns {Promise<number>} exit status */
export function run(args) {
  const contenders = [...KERNEL, 'haproxy', ...QUEUE, ...OURS]
  return runVersus(args, { contenders, peers: ['kernel', 'nfqueue-2'], programming })
}

/** 250,000 endpoints into a kernel that has none, then one more and one less by turns. */
async function programming(place, rounds) {
  const CHANGES = 10
  const result = { coldMs: [], changeMs: [] }
  for (let round = 1; round <= rounds; round++) {
    const node = await place.namespaces.add(`load${round}`)
    await place.namespaces.sysctl(node, NODE_SYSCTLS)
    const items = manifestsOf('10.96.1.1', POD_IPS, 250_000)
    const { child, write, sync } = await startDaemon(place, node, { items, mode: 'nfqueue' })
    result.coldMs.push(await sync(0))
    for (let change = 1; change <= CHANGES; change++) {
      // The name of the port must be the Service's, or nothing changes.
      const more = slice('other-1', 'http', [`10.99.0.${change}`], 8080)
      more.metadata.name = 'other-1-more'
      write('change.json', [more])
      result.changeMs.push(await sync(change))
    }
    console.error(
      `round ${round}/${rounds}  cold ${result.coldMs.at(-1)} ms, changes ${result.changeMs.slice(-CHANGES).join(' ')} ms`,
    )
    child.kill('SIGKILL')
  }
  return result
}
