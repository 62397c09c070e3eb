import t from 'tap'
import { addressWords } from '../../src/packet/address-words.js'
import { writeTcpChecksum } from '../../src/packet/checksum.js'
import { tcpProbe } from '../../src/packet/tcp-probe.js'

const hex = (packet: Uint8Array) => Buffer.from(packet).toString('hex')

t.test('IPv4: addresses, ports, SYN and ACK', async (t) => {
  const from = { words: addressWords('10.96.0.10'), port: 80 }
  const packet = tcpProbe(4, from, { words: addressWords('10.0.1.2'), port: 40_000 })
  t.match(hex(packet), /^45000028000000004006....0a60000a0a000102/)
  t.match(hex(packet.subarray(20)), /^00509c4000000000000000005012/)
  t.equal(packet.length, 40)
  const again = packet.slice()
  t.ok(writeTcpChecksum(again))
  t.equal(hex(again), hex(packet), 'its checksum is right')
})

t.test('IPv6', async (t) => {
  const from = { words: addressWords('fd00:96::10'), port: 80 }
  const packet = tcpProbe(6, from, { words: addressWords('fd00:1::2'), port: 40_000 })
  t.match(hex(packet), /^6000000000140640fd000096000000000000000000000010fd0000010{23}2/)
  t.match(hex(packet.subarray(40)), /^00509c4000000000000000005012/)
  t.equal(packet.length, 60)
})
