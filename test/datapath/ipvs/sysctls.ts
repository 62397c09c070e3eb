import t from 'tap'

import { setIpvsParameters } from '../../../src/datapath/ipvs/sysctls.js'

/** Kernel parameters in memory; the ones of `missing` are not there. */
function filesWith(values: Record<string, string>, missing: RegExp = /^$/) {
  const written: string[] = []
  const check = (path: string) => {
    if (missing.test(path)) throw new Error(`ENOENT: ${path}`)
  }
  return {
    written,
    read: (path: string) => {
      check(path)
      return values[path] ?? '0'
    },
    write: (path: string, text: string) => {
      written.push(`${path}=${text}`)
    },
  }
}

function logWith() {
  const changes: string[] = []
  const warnings: string[] = []
  return {
    changes,
    warnings,
    info: (_: object, message: string) => changes.push(message),
    warn: (message: string) => warnings.push(message),
  }
}

t.test('what differs is written, where the root is', async (t) => {
  const files = filesWith({ '/host/sys/net/ipv4/ip_forward': '1' })
  const wanted = { strictArp: true, release: '6.1.0-18', root: '/host/sys' }
  const log = logWith()
  setIpvsParameters(wanted, log, files)
  t.strictSame(log.warnings, [])
  t.equal(log.changes[0], 'net.ipv4.vs.conntrack is 1 now, was 0')
  t.equal(log.changes.length, 5, 'of what is written only')
  t.strictSame(files.written, [
    '/host/sys/net/ipv4/vs/conntrack=1',
    '/host/sys/net/ipv4/vs/expire_nodest_conn=1',
    '/host/sys/net/ipv4/vs/expire_quiescent_template=1',
    '/host/sys/net/ipv4/conf/all/arp_ignore=1',
    '/host/sys/net/ipv4/conf/all/arp_announce=2',
  ])
})

t.test('reuse is looked after in kernels that were slow with it', async (t) => {
  const isSet = (release: string) => {
    const files = filesWith({ '/proc/sys/net/ipv4/vs/conn_reuse_mode': '1' })
    setIpvsParameters({ strictArp: false, release }, logWith(), files)
    return files.written.includes('/proc/sys/net/ipv4/vs/conn_reuse_mode=0')
  }
  t.strictSame(['4.0.9', '4.1.0', '5.8.1', '5.9.0', '6.1.0'].map(isSet), [
    false,
    true,
    true,
    false,
    false,
  ])
})

t.test('what can be done without is a line, what cannot is an error', async (t) => {
  const wanted = { strictArp: false, release: '6.1.0' }
  const log = logWith()
  setIpvsParameters(wanted, log, filesWith({}, /expire_nodest/))
  t.match(log.warnings, [/^net.ipv4.vs.expire_nodest_conn is not set to 1: ENOENT/])
  t.throws(() => {
    setIpvsParameters(wanted, log, filesWith({}, /vs.conntrack/))
  }, /ENOENT/)
})
