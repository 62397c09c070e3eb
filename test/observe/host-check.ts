import t from 'tap'
import { hostCheck } from '../../src/observe/host-check.js'

const at = (address: string) => ({ address, port: 10_249 })

t.test('bound to loopback: its names, addresses, and those that are configured', async (t) => {
  for (const address of ['127.0.0.1', '127.0.0.2', '::1']) {
    const check = hostCheck(at(address), ['Node-A.example'])!
    for (const host of [
      undefined,
      'localhost',
      'localhost:10249',
      'LOCALHOST.:8080',
      'page.localhost',
      '127.0.0.1:10249',
      '[::1]:10249',
      '192.0.2.1',
      'node-a.example:443',
    ]) {
      t.ok(check(host), String(host))
    }
    for (const host of [
      'evil.example',
      'evil.example:10249',
      'localhost.evil.example',
      'notlocalhost',
      '127.0.0.1.evil.example',
      'a:b:c',
      '[::1].evil.example',
    ]) {
      t.notOk(check(host), host)
    }
  }
})

t.test('bound to other addresses: every name, unless some are configured', async (t) => {
  t.equal(hostCheck(at('0.0.0.0'), []), undefined)
  const check = hostCheck(at('192.0.2.1'), ['node-a.example'])!
  t.ok(check('node-a.example'))
  t.notOk(check('evil.example'))
})
