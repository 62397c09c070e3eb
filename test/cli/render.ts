/** `kube-sluice render` and `run --once` as a program. The golden files were read line by line. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'

import { rootOnly } from '../fixtures/test-cluster.js'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const golden = (file: string) => new URL(`../fixtures/golden/${file}`, import.meta.url)
const MANIFESTS = fileURLToPath(golden('small.yaml'))
const FLAGS = ['--manifests', MANIFESTS, '--hostname-override', 'node-a']
const PODS = ['--cluster-cidr', '10.244.0.0/16']

const render = (...words: string[]) =>
  spawnSync(process.execPath, [MAIN, 'render', ...FLAGS, ...words], { encoding: 'utf8' })

t.test('iptables, as iptables-restore takes it', async (t) => {
  const { stdout, stderr, status } = render('--proxy-mode', 'iptables', ...PODS)
  t.equal(status, 0)
  t.equal(stdout, readFileSync(golden('small.iptables'), 'utf8'))
  t.match(stderr, /^kube-sluice: warning: Service shop\/login: spec.healthCheckNodePort/)
})

t.test('nftables: the rules, and the elements of this cluster', async (t) => {
  const { stdout, status } = render('--proxy-mode', 'nftables', ...PODS)
  t.equal(status, 0)
  const lines = stdout.split('\n').filter((line) => line.startsWith('add element'))
  t.equal(`${lines.join('\n')}\n`, readFileSync(golden('small.nftables-elements'), 'utf8'))
  t.match(stdout, /^add table ip kube-sluice\ndelete table ip kube-sluice\ntable ip kube-sluice {/)
})

t.test('ipvs: a part for each tool, in the order of a sync', async (t) => {
  const { stdout, status } = render('--proxy-mode', 'ipvs', ...PODS)
  t.equal(status, 0)
  const heads = stdout.split('\n').filter((line) => line.startsWith('# '))
  t.strictSame(heads.slice(0, 5), [
    '# ip -batch -',
    '# ipset restore',
    '# iptables-restore --noflush',
    '# ipvsadm -R',
    '# ip -4 -force -batch -',
  ])
  t.match(stdout, '-a -t 10.96.0.10:80 -r 10.244.1.2:8080 -m -w 2\n')
})

t.test('flags of run have their effect', async (t) => {
  const all = render('--proxy-mode', 'iptables', '--masquerade-all').stdout
  t.match(all, /cluster IP" -m tcp -p tcp -d 10.96.0.10 --dport 80 -j KUBE-MARK-MASQ/)
})

t.test('a mode without rules is refused in one line', async (t) => {
  const { stdout, stderr, status } = render('--proxy-mode', 'userspace')
  t.equal(status, 2)
  t.equal(stdout, '')
  t.match(
    stderr,
    /--proxy-mode userspace has no rules to print; choose one of: iptables, ipvs, nftables\n$/,
  )
})

t.test('run --once', async (t) => {
  const once = (mode: string) =>
    spawnSync(
      'unshare',
      [
        '-n',
        'sh',
        '-c',
        `"$@" && { nft list map ip kube-sluice vips; iptables-save -t nat; }`,
        'sh',
        process.execPath,
        MAIN,
        'run',
        '--once',
        '--proxy-mode',
        mode,
        ...FLAGS,
        '--conntrack-max-per-core',
        '0',
      ],
      { encoding: 'utf8' },
    )
  await t.test('leaves the rules and ends', { skip: rootOnly }, async (t) => {
    for (const [mode, rule] of [
      ['nftables', /10.96.0.10 . tcp . 80 : goto vip-cluster-ip/],
      ['iptables', /-A KUBE-SERVICES -d 10.96.0.10\/32 .* -j KUBE-SVC-67NZLRHBNDSAWJRO/],
    ] as const) {
      const { stdout, stderr } = once(mode)
      t.match(stdout, rule, stderr)
    }
  })
  for (const mode of ['userspace', 'nfqueue']) {
    const { stderr, status } = spawnSync(
      process.execPath,
      [MAIN, 'run', '--once', '--proxy-mode', mode, ...FLAGS, '--conntrack-max-per-core', '0'],
      { encoding: 'utf8' },
    )
    t.equal(status, 2)
    t.match(stderr, new RegExp(`--once: the ${mode} mode serves only while it runs`))
  }
})

t.test('annotations that cannot be read are warnings, as of run', async (t) => {
  const folder = t.testdir({
    'web.yaml': `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: test, annotations: {
      kube-sluice.io/balancer: fastest, kube-sluice.io/blancer: maglev}},
      spec: {clusterIP: 10.96.0.10, ports: [{port: 80}]}}`,
  })
  const words = ['render', '--manifests', folder, '--proxy-mode', 'nftables']
  const { stderr, status } = spawnSync(process.execPath, [MAIN, ...words], { encoding: 'utf8' })
  t.equal(status, 0)
  t.match(stderr, 'there is no balancer "fastest"; round-robin is used')
  t.match(stderr, 'did you mean kube-sluice.io/balancer?')
})
