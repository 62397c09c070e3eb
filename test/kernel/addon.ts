import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { once } from 'node:events'
import t from 'tap'

import { loadAddon, loadFirst } from '../../src/kernel/addon.js'
import type { NativeAddon } from '../../src/kernel/addon-types.js'

const DEADLINE_MS = 5_000

/** The compiler sees to it that this is the whole contract. */
const CALLS: Record<keyof NativeAddon, true> = {
  boundPort: true,
  changeElements: true,
  changeIpset: true,
  clearEvent: true,
  closeDatagramRelay: true,
  closePump: true,
  closeQueue: true,
  closeSocket: true,
  conntrackBufferBytes: true,
  conntrackClose: true,
  conntrackDelete: true,
  conntrackDeleteMarked: true,
  conntrackDump: true,
  conntrackEvents: true,
  conntrackAnswers: true,
  conntrackFd: true,
  conntrackReceive: true,
  conntrackWords: true,
  countRules: true,
  dial: true,
  dialPoll: true,
  dialReceive: true,
  dialSend: true,
  dumpElements: true,
  legacyTableSize: true,
  openDatagramRelay: true,
  openEvent: true,
  openNetfilter: true,
  openPump: true,
  openQueue: true,
  openSocket: true,
  originalDestination: true,
  packetWords: true,
  pumpAnswer: true,
  pumpCounters: true,
  pumpListen: true,
  pumpPick: true,
  pumpReceive: true,
  pumpTimeouts: true,
  pumpUnlisten: true,
  pumpUnpick: true,
  queueAnswer: true,
  queueReceive: true,
  queueState: true,
  raiseFileLimit: true,
  readClock: true,
  relayAnswer: true,
  relayCounters: true,
  relayListen: true,
  relayReceive: true,
  relayTimeouts: true,
  relayUnlisten: true,
  releaseMemory: true,
  setSocketFilter: true,
  signalEvent: true,
  waitReadable: true,
}

t.test('is loaded once and has every call of the contract', async (t) => {
  const addon = loadAddon()
  t.equal(addon, loadAddon())
  t.same(Object.keys(addon).sort(), Object.keys(CALLS).sort())
})

t.test('each call of the queues and of netfilter says what it throws', async (t) => {
  for (const name of ['queue-addon-types', 'netfilter-addon-types']) {
    const text = readFileSync(new URL(`../../src/kernel/${name}.ts`, import.meta.url), 'utf8')
    const [, contract = ''] = text.split(/^export interface \w+Addon \{$/m)
    const members = [...contract.matchAll(/\/\*\*((?:(?!\*\/).)*)\*\/\s+(readonly )?(\w+)/gs)]
    t.ok(members.length > 5, name)
    for (const [, comment = '', constant, call = ''] of members) {
      if (constant === undefined) t.match(comment, /Throws\s/, call)
    }
    const calls = [...contract.matchAll(/^ {2}(\w+)\(/gm)].map(([, call]) => call)
    const documented = members.filter(([, , constant]) => constant === undefined)
    t.same(
      calls,
      documented.map(([, , , call]) => call),
      'each has a comment',
    )
  }
})

t.test('a failure names every path, its reason and the command that builds it', async (t) => {
  const garbage = join(t.testdir(), 'garbage.node')
  writeFileSync(garbage, 'not an object file')
  t.teardown(() => {
    rmSync(garbage, { force: true })
  })
  t.throws(() => loadFirst(['/nowhere/one.node', garbage]), {
    code: 'ERR_ADDON',
    message: /^[^\n]*\/nowhere\/one\.node \(.*garbage\.node \(.*node native\/build\.mjs$/,
  })
})

t.test('works in a worker beside the main thread', async (t) => {
  loadAddon()
  const path = new URL('../../native/build/kube-sluice.node', import.meta.url).pathname
  const source = `
    const addon = require(${JSON.stringify(path)})
    const fd = addon.openSocket({ type: 'tcp', family: 'IPv4' })
    addon.closeSocket(fd)
    require('node:worker_threads').parentPort.postMessage(fd)`
  const worker = new Worker(source, { eval: true })
  t.teardown(() => worker.terminate())
  const [fd] = (await once(worker, 'message', {
    signal: AbortSignal.timeout(DEADLINE_MS),
  })) as [number]
  t.ok(fd > 2)
})

t.test('arguments that would be unsafe are TypeErrors', async (t) => {
  const { openSocket, setSocketFilter, closeSocket } = loadAddon() as unknown as Record<
    string,
    (...args: unknown[]) => unknown
  >
  const tcp = { type: 'tcp', family: 'IPv4' }
  const calls: [string, () => unknown][] = [
    ['no argument', () => openSocket!()],
    ['a number for options', () => openSocket!(7)],
    ['an unknown type', () => openSocket!({ ...tcp, type: 'sctp' })],
    ['an unknown family', () => openSocket!({ ...tcp, family: 'IPv7' })],
    ['a text that is too long', () => openSocket!({ ...tcp, type: 'x'.repeat(1000) })],
    [
      'an address of the other family',
      () => openSocket!({ ...tcp, bind: { address: '::1', port: 0 } }),
    ],
    [
      'a port out of range',
      () => openSocket!({ ...tcp, bind: { address: '127.0.0.1', port: 65536 } }),
    ],
    ['a missing port', () => openSocket!({ ...tcp, bind: { address: '127.0.0.1' } })],
    ['half an instruction', () => openSocket!({ ...tcp, filter: new Uint8Array(12) })],
    ['too many instructions', () => openSocket!({ ...tcp, filter: new Uint8Array(8 * 4097) })],
    ['a filter of wide elements', () => openSocket!({ ...tcp, filter: new Uint16Array(4) })],
    ['a filter that is text', () => setSocketFilter!(0, 'ret')],
    ['a negative descriptor', () => closeSocket!(-1)],
  ]
  for (const [name, call] of calls) {
    t.throws(call, { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }, name)
  }
  t.throws(
    () =>
      openSocket!({
        get type() {
          throw new Error('thrown by the caller')
        },
      }),
    { message: 'thrown by the caller' },
  )
})
