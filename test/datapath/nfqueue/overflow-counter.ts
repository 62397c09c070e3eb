import t from 'tap'

import { OverflowCounter } from '../../../src/datapath/nfqueue/overflow-counter.js'
import { FakeClock } from '../../fixtures/fake-clock.js'

/** As `iptables-save -c -t mangle` prints it. */
const saved = (first: number, repeated: number, refusals: number) => `*mangle
:PREROUTING ACCEPT [900:90000]
:KUBE-SLUICE-QUEUE - [0:0]
[900:90000] -A PREROUTING -m comment --comment "kube-sluice: new" -j KUBE-SLUICE-STEER
[77:4000] -A KUBE-SLUICE-QUEUE -m conntrack ! --ctstatus CONFIRMED -j MARK --set-xmark 0x0/0x3fffff00
[${first}:600] -A KUBE-SLUICE-QUEUE -m conntrack ! --ctstatus CONFIRMED -j NFQUEUE --queue-balance 0:1 --queue-bypass
[${repeated}:60] -A KUBE-SLUICE-QUEUE -p tcp -j NFQUEUE --queue-num 2 --queue-bypass
[${refusals}:40] -A KUBE-SLUICE-ANSWERS -p tcp -j NFQUEUE --queue-num 2 --queue-bypass
[50:50] -A OTHERS -j NFQUEUE --queue-num 9
COMMIT
`

function make() {
  const clock = new FakeClock()
  const kernel = { rules: saved(0, 0, 0), taken: 0, status: 0, runs: 0 }
  const counter = new OverflowCounter({
    clock,
    tools: ['iptables'],
    run: async (tool, args) => {
      kernel.runs++
      t.same([tool, ...args], ['iptables-save', '-c', '-t', 'mangle'])
      return { status: kernel.status, stdout: kernel.rules, stderr: '' }
    },
    taken: () => kernel.taken,
  })
  const look = async (rules: string, taken: number) => {
    await clock.advance(5_000)
    Object.assign(kernel, { rules, taken })
    await counter.look()
    return counter.total
  }
  return { kernel, counter, look }
}

t.test('what has met the rules and has not come up', async (t) => {
  const { look } = make()
  t.equal(await look(saved(100, 3, 2), 40), 0, 'what was before it looked is not counted')
  t.equal(await look(saved(150, 4, 3), 92), 0, 'all of it has come up')
  t.equal(await look(saved(160, 4, 3), 95), 7)
  t.equal(
    await look(saved(160, 4, 3), 96),
    7,
    'what comes up late was on its way: it never goes down',
  )
  t.equal(await look(saved(170, 4, 3), 100), 12)
})

t.test('rules that were made anew count from 0', async (t) => {
  const { look } = make()
  await look(saved(100, 0, 0), 100)
  t.equal(await look(saved(110, 0, 0), 105), 5)
  t.equal(await look(saved(2, 0, 0), 107), 5)
  t.equal(await look(saved(12, 0, 0), 115), 7)
})

t.test('it looks seldom, and a tool that fails counts nothing', async (t) => {
  const { kernel, counter, look } = make()
  await look(saved(1, 0, 0), 1)
  await counter.look()
  t.equal(kernel.runs, 1)
  kernel.status = 1
  t.equal(await look(saved(9, 0, 0), 1), 0)
  kernel.status = 0
  t.equal(await look(saved(9, 0, 0), 1), 8)
})
