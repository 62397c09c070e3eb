import t from 'tap'

import { check } from '../../src/cli/check.js'
import type { KernelCapabilities } from '../../src/kernel/probe-capability.js'
import { kernelWithout } from '../fixtures/kernel-capabilities.js'

async function run(
  kernel: KernelCapabilities,
  json = false,
): Promise<{ status: number; text: string }> {
  let text = ''
  const write = (part: string): void => {
    text += part
  }
  const status = await check({ json, write }, async () => kernel)
  return { status, text }
}

t.test('a kernel that can do everything', async (t) => {
  const { status, text } = await run(kernelWithout())
  t.equal(status, 0)
  t.match(text, /^userspace +usable\n {2}tproxy +usable\n {2}anyip +usable\n {2}redirect +usable$/m)
  t.match(text, /^nfqueue +usable$/m)
  for (const mode of ['ipvs', 'nftables', 'iptables']) {
    t.match(text, new RegExp(`^${mode} +usable$`, 'm'))
  }
  t.notMatch(text, /missing/)
})

t.test('each thing that is missing is named with its remedy', async (t) => {
  const { status, text } = await run(kernelWithout('tproxy divert IPv4', 'IPVS'))
  t.equal(status, 0, 'anyip is enough')
  t.match(text, /tproxy +not usable\n +missing tproxy divert IPv4: it says no; try: fix it$/m)
  t.match(text, /^ipvs +not usable\n +missing IPVS: it says no; try: fix it$/m)
  t.match(text, /^ {2}no {3}IPVS: it says no$/m)
})

t.test('what only IPv6 Services need does not make a capture unusable', async (t) => {
  const { status, text } = await run(kernelWithout('local routes IPv6'))
  t.equal(status, 0)
  t.match(text, /anyip +usable\n +missing for IPv6 local routes IPv6/m)
})

t.test('one of several alternatives is enough', async (t) => {
  t.match((await run(kernelWithout('nftables nat maps'))).text, /^nfqueue +usable/m)
  const neither = await run(kernelWithout('nftables nat maps', 'iptables nat'))
  t.match(neither.text, /^nfqueue +not usable\n.*iptables nat.*\n.*nftables nat maps/m)
})

t.test('without any capture the status is 1', async (t) => {
  const { status, text } = await run(kernelWithout('local routes IPv4', 'iptables nat'))
  t.equal(status, 1)
  t.match(text, /^userspace +not usable$/m)
})

t.test('JSON is one document with the same', async (t) => {
  const { status, text } = await run(kernelWithout('IPVS'), true)
  t.equal(status, 0)
  t.match(JSON.parse(text), {
    modes: [
      { name: 'userspace', state: 'usable' },
      { name: 'nfqueue', state: 'usable' },
      { name: 'ipvs', state: 'missing', missing: [{ name: 'IPVS', fix: 'fix it' }] },
      { name: 'nftables', state: 'usable' },
      { name: 'iptables', state: 'usable' },
    ],
    captures: [{ name: 'tproxy' }, { name: 'anyip' }, { name: 'redirect' }],
  })
})

t.test('what auto would do, and why not something else', async (t) => {
  const { text } = await run(kernelWithout('IPVS', 'iptables NFQUEUE'))
  t.match(text, /^auto +userspace \(nfqueue misses iptables NFQUEUE\); past a threshold nftables$/m)
  t.match(text, /^ +not ipvs: it misses IPVS$/m)
  t.match((await run(kernelWithout())).text, /^auto +nfqueue \(.*\); past a threshold ipvs$/m)
  const { auto } = JSON.parse((await run(kernelWithout('IPVS'), true)).text) as {
    auto: { deciding: string; fallbacks: unknown[] }
  }
  t.equal(auto.deciding, 'nfqueue')
  t.equal(auto.fallbacks.length, 3)
})
