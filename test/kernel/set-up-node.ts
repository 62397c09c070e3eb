import t from 'tap'
import { conntrackMax, type NodeSetup, setUpNode } from '../../src/kernel/set-up-node.js'
import { loopbackRouter, sysctlPath } from '../../src/kernel/sysctl.js'

const SETUP: NodeSetup = {
  conntrackMaxPerCore: 32_768,
  conntrackMin: 131_072,
  tcpEstablishedTimeoutMs: 86_400_000,
  tcpCloseWaitTimeoutMs: 3_600_000,
  udpTimeoutMs: 0,
  udpStreamTimeoutMs: 0,
  tcpBeLiberal: false,
  oomScoreAdj: -999,
  sysctlRoot: '/proc/sys',
}
const NOTHING: NodeSetup = {
  ...SETUP,
  conntrackMaxPerCore: 0,
  tcpEstablishedTimeoutMs: 0,
  tcpCloseWaitTimeoutMs: 0,
}
const nf = (name: string) => sysctlPath(`net.netfilter.nf_conntrack_${name}`)
const HASHSIZE = '/sys/module/nf_conntrack/parameters/hashsize'

function setUp(setup: NodeSetup, values: Record<string, string>, refused = new Set<string>()) {
  const files = new Map(Object.entries({ '/proc/self/oom_score_adj': '0', ...values }))
  const written: string[] = []
  const log: string[] = []
  const note = (_: object, message: string) => {
    log.push(message)
  }
  setUpNode(
    setup,
    { info: note, warn: note },
    {
      read: (path) => {
        const text = files.get(path)
        if (text === undefined) throw Object.assign(new Error('absent'), { code: 'ENOENT' })
        return text
      },
      write: (path, text) => {
        if (refused.has(path)) throw new Error('EROFS: read-only file system')
        files.set(path, text)
        written.push(`${path}=${text}`)
      },
    },
    4,
  )
  return { written, log }
}

t.test(
  'the limit is kube-proxy’s: per core, at least, at most a million, 0 leaves it',
  async (t) => {
    t.equal(conntrackMax(SETUP, 1), 131_072)
    t.equal(conntrackMax(SETUP, 8), 262_144)
    t.equal(conntrackMax(SETUP, 64), 1_048_576)
    t.equal(conntrackMax({ ...SETUP, conntrackMaxPerCore: 0 }, 64), 0)
  },
)

t.test('what differs is written and told with what it was, what does not is left', async (t) => {
  const { written, log } = setUp(SETUP, {
    [nf('max')]: '65536',
    [HASHSIZE]: '16384',
    [nf('tcp_timeout_established')]: '432000',
    [nf('tcp_timeout_close_wait')]: '3600',
  })
  t.strictSame(written, [
    `${nf('max')}=131072`,
    `${HASHSIZE}=32768`,
    `${nf('tcp_timeout_established')}=86400`,
    '/proc/self/oom_score_adj=-999',
  ])
  t.strictSame(log, [
    'net.netfilter.nf_conntrack_max is 131072 now, was 65536',
    'nf_conntrack hashsize is 32768 now, was 16384',
    'net.netfilter.nf_conntrack_tcp_timeout_established is 86400 now, was 432000',
    'oom_score_adj is -999 now, was 0',
  ])
})

t.test('a hash that is larger than needed stays', async (t) => {
  const { written } = setUp(
    { ...NOTHING, conntrackMaxPerCore: 32_768 },
    {
      [nf('max')]: '131072',
      [HASHSIZE]: '65536',
    },
  )
  t.strictSame(written, ['/proc/self/oom_score_adj=-999'])
})

t.test('what is asked for by 0 or false is left, and the rest of 2.5 is written', async (t) => {
  t.strictSame(setUp(NOTHING, {}).written, ['/proc/self/oom_score_adj=-999'])
  const values = {
    [nf('udp_timeout')]: '30',
    [nf('udp_timeout_stream')]: '120',
    [nf('tcp_be_liberal')]: '0',
  }
  const wanted = { ...NOTHING, udpTimeoutMs: 20_000, udpStreamTimeoutMs: 500, tcpBeLiberal: true }
  t.strictSame(setUp(wanted, values).written, [
    `${nf('udp_timeout')}=20`,
    `${nf('udp_timeout_stream')}=1`,
    `${nf('tcp_be_liberal')}=1`,
    '/proc/self/oom_score_adj=-999',
  ])
})

t.test('a locked-down node costs one line for each value, and no more', async (t) => {
  const { written, log } = setUp(
    SETUP,
    { [nf('max')]: '65536', [nf('tcp_timeout_established')]: '432000' },
    new Set([nf('max')]),
  )
  t.strictSame(written, [`${nf('tcp_timeout_established')}=86400`, '/proc/self/oom_score_adj=-999'])
  t.match(log, [
    /nf_conntrack_max stays as it is: EROFS: read-only file system; set it to 131072 on the node/,
    /hashsize stays as it is: the kernel does not have it; set it to 32768/,
    /established is 86400/,
    /close_wait stays as it is: the kernel does not have it/,
    /oom_score_adj/,
  ])
})

t.test('the parameters of a container come from another mount', async (t) => {
  const root = '/host/proc/sys'
  const path = sysctlPath('net.ipv4.conf.all.route_localnet', root)
  t.equal(path, '/host/proc/sys/net/ipv4/conf/all/route_localnet')
  const written: string[] = []
  const warnings: string[] = []
  const told: string[] = []
  const log = {
    info: (_: object, message: string) => told.push(message),
    warn: (message: string) => warnings.push(message),
  }
  const files = {
    read: () => '0',
    write: (file: string, text: string) => written.push(`${file} ${text}`),
  }
  const route = loopbackRouter(root, log, files)
  route()
  route()
  t.strictSame(written, [`${path} 1`], 'once')
  t.strictSame(told, ['net.ipv4.conf.all.route_localnet is 1 now, was 0'])
  const denied = {
    read: () => '0',
    write: () => {
      throw new Error('EROFS: read-only file system')
    },
  }
  loopbackRouter(root, log, denied)()
  t.match(warnings, [/^node ports do not work from 127\.0\.0\.1: .*EROFS.*--sysctl-root$/])
})
