import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { configFileText, kubeProxyDocument } from '../../src/config/config-documents.js'
import { KUBE_PROXY_SHAPES, readConfigFile } from '../../src/config/config-file.js'
import { resolveOptions } from '../../src/config/resolve-options.js'

const FLAGS = new Map([
  ['manifests', 'dir'],
  ['connect-timeout', '250ms'],
  ['cluster-cidr', '10.244.0.0/16'],
  ['nodeport-addresses', '10.0.0.0/8,fd00::/8'],
  ['healthz-bind-address', ''],
  ['conntrack-max-per-core', '0'],
  ['iptables-localhost-nodeports', 'false'],
  ['v', '4'],
  ['feature-gates', 'A=true'],
  ['vmodule', 'proxier=5'],
])

t.test('what is written reads as what was in force', async (t) => {
  const before = resolveOptions(FLAGS)
  t.strictSame(before.problems, [])
  const after = resolveOptions(new Map(), readConfigFile('f', configFileText(before)))
  t.strictSame(after.problems, [])
  t.strictSame(after.values, before.values)
  t.strictSame([...after.texts], [...before.texts])
  t.strictSame(after.ignored.get('featureGates'), 'A=true')
})

t.test('the document of kube-proxy is complete and has its shape', async (t) => {
  const document = kubeProxyDocument(resolveOptions(FLAGS))
  for (const path of KUBE_PROXY_SHAPES.keys()) {
    let value: unknown = document
    for (const name of path.split('.')) value = (value as Record<string, unknown>)[name]
    t.not(value, undefined, path)
  }
  t.match(document, {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    clusterCIDR: '10.244.0.0/16',
    nodePortAddresses: ['10.0.0.0/8', 'fd00::/8'],
    conntrack: { maxPerCore: 0, min: 131072, tcpEstablishedTimeout: '24h' },
    clientConnection: { qps: 5, burst: 10 },
    featureGates: { A: true },
    logging: { vmodule: [{ filePattern: 'proxier', verbosity: 5 }] },
    iptables: { localhostNodePorts: false, syncPeriod: '30s' },
    winkernel: { enableDSR: false },
  })
})

t.test('the file has one document of each kind', async (t) => {
  const documents = parseAllDocuments(configFileText(resolveOptions(FLAGS)))
  t.strictSame(
    Array.from(documents, (document) => (document.toJS() as { kind: string }).kind),
    ['KubeProxyConfiguration', 'KubeSluiceConfiguration'],
  )
})
