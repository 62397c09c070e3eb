import t from 'tap'

import { ipvsConnections, packetsOf } from '../../../src/datapath/auto/connection-counter.js'
import { LoadMeter } from '../../../src/datapath/auto/load-meter.js'

const reading = (atMs: number, connections: number, byRules?: number) => ({
  atMs,
  connections,
  byRules,
  queueDrops: connections / 10,
  busySeconds: atMs / 2000,
})

t.test('rates are what has happened a second since the reading before', async (t) => {
  const meter = new LoadMeter()
  t.same(meter.rates(reading(0, 100)), {}, 'a first reading says nothing')
  t.same(meter.rates(reading(2000, 1100)), {
    connectionsPerSecond: 500,
    queueDropsPerSecond: 50,
    verdictPercent: 50,
  })
  t.equal(meter.rates(reading(2001, 9999)).connectionsPerSecond, 500, 'too soon to say')
})

t.test('connections of the rules count once there are two readings of them', async (t) => {
  const meter = new LoadMeter()
  meter.rates(reading(0, 100))
  t.equal(meter.rates(reading(1000, 100, 7000)).connectionsPerSecond, undefined)
  t.equal(meter.rates(reading(2000, 110, 7500)).connectionsPerSecond, 510)
})

t.test("the kernel's counters are read from its text", async (t) => {
  const listing = [
    'Chain KUBE-SLUICE-LOAD (2 references)',
    '    pkts      bytes target     prot opt in     out     source               destination',
    '     123     7380 RETURN     0    --  *      *       0.0.0.0/0            0.0.0.0/0',
  ].join('\n')
  t.equal(packetsOf(listing), 123)
  t.equal(packetsOf('Chain X\nheadings\n'), undefined)
  const stats = '   Total Incoming\n   Conns  Packets\n      1F       10        A\n'
  t.equal(ipvsConnections(stats), 31)
  t.equal(ipvsConnections(''), undefined)
})
