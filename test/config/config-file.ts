import { readFileSync } from 'node:fs'
import t from 'tap'
import { readConfigFile } from '../../src/config/config-file.js'
import { runConfigOf } from '../../src/config/load.js'
import { resolveOptions } from '../../src/config/resolve-options.js'

const KUBEADM = readFileSync(
  new URL('../fixtures/kubeadm-kube-proxy.yaml', import.meta.url),
  'utf8',
)
const PROXY = 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n'
const SLUICE =
  'apiVersion: kube-sluice.io/v1alpha1\nkind: KubeSluiceConfiguration\nmanifests: dir\n'

const resolve = (text: string, flags: Record<string, string> = {}) =>
  resolveOptions(new Map(Object.entries(flags)), readConfigFile('f.yaml', text))
const problemsOf = (text: string) => resolve(text).problems

t.test("kubeadm's ConfigMap is taken as it is", async (t) => {
  const { problems, warnings, values } = resolve(KUBEADM, { manifests: 'dir' })
  t.strictSame(problems, [])
  t.strictSame(warnings, [])
  t.match(runConfigOf(values), {
    proxyMode: 'auto',
    healthzBindAddress: { address: '0.0.0.0', port: 10256 },
    metricsBindAddress: { address: '127.0.0.1', port: 10249 },
    syncPeriodMs: 30_000,
    detectLocalMode: 'ClusterCIDR',
    localhostNodePorts: true,
    nodeSetup: {
      conntrackMaxPerCore: 32_768,
      conntrackMin: 131_072,
      tcpEstablishedTimeoutMs: 86_400_000,
      tcpCloseWaitTimeoutMs: 3_600_000,
      oomScoreAdj: -999,
    },
  })
  t.strictSame(
    values.clusterCidr.map(({ text }) => text),
    ['10.244.0.0/16', 'fd00:244::/48'],
  )
})

t.test('both documents of one file count, and ours goes before kube-proxy’s', async (t) => {
  const proxy = `${PROXY}oomScoreAdj: -500\nmode: userspace\nconntrack: {min: 5}\n`
  const { values, problems } = resolve(`${proxy}---\n${SLUICE}oomScoreAdj: -600\nudpTimeout: 9s\n`)
  t.strictSame(problems, [])
  t.equal(values.oomScoreAdj, -600)
  t.equal(values.proxyMode, 'userspace')
  t.equal(values.conntrackMin, 5)
  t.equal(values.udpTimeout, 9000)
})

t.test('JSON is YAML', async (t) => {
  const text = JSON.stringify({
    apiVersion: 'kube-sluice.io/v1alpha1',
    kind: 'KubeSluiceConfiguration',
    connectAttempts: 5,
    masqueradeAll: true,
    nodeportAddresses: ['10.0.0.0/8', 'fd00::/8'],
    conntrackMarkMask: '0x3ffff000',
  })
  const { values, problems } = resolve(text)
  t.strictSame(problems, [])
  t.match(values, { connectAttempts: 5, masqueradeAll: true, conntrackMarkMask: 0x3ffff000 })
})

t.test('a flag goes before the file, and the file before the default', async (t) => {
  const text = `${SLUICE}connectTimeout: 3s\nudpTimeout: 7s\n`
  const { values, isDefault } = resolve(text, { 'connect-timeout': '250ms' })
  t.equal(values.connectTimeout, 250)
  t.equal(values.udpTimeout, 7000)
  t.equal(values.udpStreamTimeout, 120_000)
  t.notOk(isDefault('udpTimeout'))
  t.ok(isDefault('udpStreamTimeout'))
})

t.test('every problem is told at once, with line, path, value and what is allowed', async (t) => {
  const problems = problemsOf(
    `${PROXY}iptables:\n  masqueradeBit: 77\n  syncPerod: 1s\nipvs: []\nconntrack:\n  min: many\n` +
      `---\n${SLUICE}connectAttempts: 11\nconectTimeout: 1s\ntcpIdleTimeout: 5\nmasqueradeAll: 'yes'\nproxyMode: fast\n`,
  )
  t.equal(problems.length, 9)
  const said = problems.join('\n')
  for (const expected of [
    /f.yaml:4: KubeProxyConfiguration iptables.masqueradeBit "77" is not a whole number from 0 to 31/,
    /f.yaml:5: KubeProxyConfiguration iptables.syncPerod is not a known field; did you mean syncPeriod\?/,
    /f.yaml:6: KubeProxyConfiguration ipvs \[\] is not a map/,
    /f.yaml:8: KubeProxyConfiguration conntrack.min "many" is not a whole number/,
    /f.yaml:13: KubeSluiceConfiguration connectAttempts "11" is not a whole number from 1 to 10/,
    /f.yaml:14: KubeSluiceConfiguration conectTimeout is not a known field; did you mean connectTimeout\?/,
    /f.yaml:15: KubeSluiceConfiguration tcpIdleTimeout 5 is not text/,
    /f.yaml:16: KubeSluiceConfiguration masqueradeAll "yes" is not true or false/,
    /f.yaml:17: KubeSluiceConfiguration proxyMode "fast" is unknown \(allowed: auto/,
  ]) {
    t.match(said, expected)
  }
})

t.test('a document that is none of ours, twice the same, or no YAML is told', async (t) => {
  for (const [text, expected] of [
    ['', /f.yaml: holds no configuration: a KubeProxyConfiguration or a KubeSluiceConf/],
    ['---\n', /holds no configuration/],
    ['a: [', /f.yaml:1: /],
    [
      'kind: Pod\napiVersion: v1\n',
      /f.yaml:1: apiVersion "v1", kind "Pod" is not.*allowed: kubeproxy/,
    ],
    ['7', /apiVersion nothing, kind nothing is not a configuration/],
    [`${PROXY}---\n${PROXY}`, /f.yaml:4: a second KubeProxyConfiguration; keep one/],
    [`${SLUICE}logLevel: info\nlogLevel: warn\n`, /f.yaml:5: Map keys must be unique/],
    [`${PROXY}connectTimeout: 1s\n`, /belongs in a KubeSluiceConfiguration document/],
    [`${PROXY}mode: {a: 1}\n`, /mode \{"a":1\} is not text/],
    [`${PROXY}nodePortAddresses: [1]\n`, /nodePortAddresses \[1\] has an item \[0\]/],
  ] as const) {
    t.match(problemsOf(text).join('\n'), expected, text)
    t.equal(problemsOf(text).length, 1, text)
  }
})

t.test("kube-proxy's settings of a mode count in that mode", async (t) => {
  const sections =
    'iptables: {syncPeriod: 11s, minSyncPeriod: 2s, masqueradeAll: true}\n' +
    'ipvs: {syncPeriod: 12s}\nnftables: {syncPeriod: 13s}\n'
  const { values } = resolve(`${PROXY}${sections}`)
  t.match(values, { syncPeriod: 11_000, minSyncPeriod: 2000, masqueradeAll: true })
  t.equal(resolve(`${PROXY}mode: ipvs\n${sections}`).values.syncPeriod, 12_000)
  t.match(resolve(`${PROXY}mode: nftables\n${sections}`).values, {
    syncPeriod: 13_000,
    masqueradeAll: false,
  })
  t.equal(resolve(`${PROXY}${sections}`, { 'sync-period': '9s' }).values.syncPeriod, 9000)
  t.equal(resolve(PROXY, { 'iptables-sync-period': '8s' }).values.syncPeriod, 8000)
})

t.test(
  'zero is the default where it is for kube-proxy, and a value where it is a pointer',
  async (t) => {
    const zeros =
      'healthzBindAddress: ""\niptables: {syncPeriod: 0s, localhostNodePorts: false}\n' +
      'conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s}\noomScoreAdj: 0\n'
    t.match(resolve(`${PROXY}${zeros}`).values, {
      healthzBindAddress: { port: 10256 },
      syncPeriod: 30_000,
      iptablesLocalhostNodeports: undefined,
      localhostNodePorts: false,
      conntrackMaxPerCore: 0,
      conntrackTcpTimeoutEstablished: 0,
      oomScoreAdj: 0,
    })
    t.equal(resolve(`${SLUICE}healthzBindAddress: ''\n`).values.healthzBindAddress, undefined)
  },
)

t.test('an IPv6 node address makes the default addresses IPv6', async (t) => {
  t.match(resolve(`${PROXY}bindAddress: '::'\n`).values, {
    healthzBindAddress: { address: '::', port: 10256 },
    metricsBindAddress: { address: '::1', port: 10249 },
  })
  t.match(resolve(PROXY, { 'bind-address': 'fd00::1', 'metrics-bind-address': '' }).values, {
    healthzBindAddress: { address: '::' },
    metricsBindAddress: undefined,
  })
})

t.test('what has no effect is one warning that says why', async (t) => {
  const { warnings, problems, values } = resolve(
    `${PROXY}ipvs: {excludeCIDRs: [10.9.0.0/16]}\nfeatureGates: {A: true}\n` +
      'logging: {format: json, flushFrequency: 5000000000, vmodule: [{filePattern: a, verbosity: 4}]}\n',
    { 'kube-api-qps': '50', 'healthz-port': '0' },
  )
  t.strictSame(problems, [])
  const said = warnings.join('\n')
  t.equal(warnings.length, 6, said)
  t.match(values.ipvsExcludeCidrs, [{ text: '10.9.0.0/16' }], 'which has one')
  t.match(said, /--kube-api-qps "50" has no effect here: a list and a watch/)
  t.match(said, /--healthz-port is deprecated/)
  t.match(said, /vmodule "a=4"/)
})

t.test('verbosity of klog is a log level here', async (t) => {
  t.equal(resolve(`${PROXY}logging: {verbosity: 5}\n`).values.logLevel, 'debug')
  t.equal(resolve(PROXY, { v: '2' }).values.logLevel, 'info')
  t.equal(resolve(PROXY, { v: '9' }).values.logLevel, 'trace')
  t.match(resolve(PROXY, { v: 'x' }).problems.join(), /--v "x" is unknown \(allowed: trace/)
})
