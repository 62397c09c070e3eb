import t from 'tap'

import { PacketCounts } from '../../../src/datapath/iptables/packet-counts.js'

const HEAD =
  'Chain X (1 references)\n    pkts      bytes target     prot opt in     out     source\n'

function setUp(family: 'IPv4' | 'IPv6' = 'IPv4') {
  const kernel = { 'KUBE-FORWARD': 0, 'KUBE-SLUICE-LOCALHOST': 0 }
  const state = { fails: false }
  const recorded: Record<string, number> = {}
  const asked: string[] = []
  const counts = new PacketCounts({
    family,
    tool: 'iptables',
    run: (_, args) => {
      const chain = args.at(-1) as keyof typeof kernel
      asked.push(chain)
      const packets = String(kernel[chain]).padStart(8)
      const lines = {
        'KUBE-FORWARD': `${packets}      480 DROP       0    --  *      *       0.0.0.0/0            0.0.0.0/0            ctstate INVALID\n      77      480 ACCEPT     0    --  *      *       0.0.0.0/0            0.0.0.0/0            mark match 0x4000/0x4000\n`,
        'KUBE-SLUICE-LOCALHOST': `${packets}       60            0    --  *      *       0.0.0.0/0            0.0.0.0/0            mark match 0x4000/0x4000 ctstate DNAT ctorigdst 127.0.0.0/8\n`,
      }
      if (state.fails) return Promise.reject(new Error('it hangs'))
      return Promise.resolve({ status: 0, stdout: HEAD + lines[chain], stderr: '' })
    },
    metrics: {
      packetsAccounted: (what, packets) => {
        recorded[what] = (recorded[what] ?? 0) + packets
      },
    },
  })
  const write = () => {
    kernel['KUBE-FORWARD'] = 0
    kernel['KUBE-SLUICE-LOCALHOST'] = 0
    return Promise.resolve()
  }
  return { kernel, state, recorded, asked, counts, write }
}

t.test('packets since the last reading, of both rules', async (t) => {
  const { kernel, recorded, counts, write } = setUp()
  await counts.whileWriting(write)
  kernel['KUBE-FORWARD'] = 3
  kernel['KUBE-SLUICE-LOCALHOST'] = 5
  await counts.account()
  kernel['KUBE-SLUICE-LOCALHOST'] = 6
  await Promise.all([counts.account(), counts.account()])
  t.strictSame(recorded, { ct_state_invalid_dropped_pkts: 3, localhost_nps_accepted_pkts: 6 })
})

t.test('what was counted just before all is written anew is not lost', async (t) => {
  const { kernel, recorded, counts, write } = setUp()
  await counts.whileWriting(write)
  kernel['KUBE-FORWARD'] = 3
  await counts.whileWriting(write)
  kernel['KUBE-FORWARD'] = 4
  await counts.account()
  t.equal(recorded['ct_state_invalid_dropped_pkts'], 7)
})

t.test('what a predecessor has counted is not of this process', async (t) => {
  const { kernel, recorded, asked, counts, write } = setUp()
  kernel['KUBE-FORWARD'] = 9
  await counts.account()
  await counts.whileWriting(write)
  t.strictSame(asked, [])
  await counts.account()
  t.equal(recorded['ct_state_invalid_dropped_pkts'], 0)
})

t.test('nobody reads while all is written; a write that fails changes nothing', async (t) => {
  const { kernel, recorded, asked, counts, write } = setUp()
  await counts.whileWriting(write)
  kernel['KUBE-FORWARD'] = 2
  await counts.account()
  asked.length = 0
  const failing = counts.whileWriting(async () => {
    asked.length = 0
    await counts.account()
    throw new Error('no')
  })
  await t.rejects(failing, { message: 'no' })
  t.strictSame(asked, [])
  kernel['KUBE-FORWARD'] = 3
  await counts.account()
  t.equal(recorded['ct_state_invalid_dropped_pkts'], 3)
})

t.test('a tool that fails leaves the counts; IPv6 has no node ports on loopback', async (t) => {
  const { kernel, state, recorded, asked, counts, write } = setUp('IPv6')
  await counts.whileWriting(write)
  state.fails = true
  await counts.account()
  state.fails = false
  kernel['KUBE-FORWARD'] = 2
  await counts.account()
  t.strictSame(recorded, { ct_state_invalid_dropped_pkts: 2 })
  t.notOk(asked.includes('KUBE-SLUICE-LOCALHOST'))
})
