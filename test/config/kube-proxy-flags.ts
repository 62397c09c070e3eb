import t from 'tap'
import { loadRun } from '../../src/config/load.js'
import { KUBE_PROXY_ONLY } from '../../src/config/kube-proxy-only.js'
import { OPTIONS, type OptionRow } from '../../src/config/options.js'

/** kube-proxy 1.36, with a value that is not the default. */
const FLAGS = [
  '--bind-address=10.0.0.1',
  '--bind-address-hard-fail=true',
  '--cluster-cidr=10.244.0.0/16',
  '--config-sync-period=10m',
  '--conntrack-max-per-core=1000',
  '--conntrack-min=2000',
  '--conntrack-tcp-be-liberal',
  '--conntrack-tcp-timeout-close-wait=30m',
  '--conntrack-tcp-timeout-established=12h',
  '--conntrack-udp-timeout=20s',
  '--conntrack-udp-timeout-stream=90s',
  '--detect-local-mode=NodeCIDR',
  '--feature-gates=SomeGate=true',
  '--healthz-bind-address=127.0.0.1:10256',
  '--healthz-port=10300',
  '--hostname-override=node-a',
  '--iptables-localhost-nodeports=false',
  '--iptables-masquerade-bit=15',
  '--iptables-min-sync-period=2s',
  '--iptables-sync-period=20s',
  '--ipvs-exclude-cidrs=10.9.0.0/16',
  '--ipvs-min-sync-period=2s',
  '--ipvs-scheduler=lc',
  '--ipvs-strict-arp',
  '--ipvs-sync-period=20s',
  '--ipvs-tcp-timeout=1h',
  '--ipvs-tcpfin-timeout=1m',
  '--ipvs-udp-timeout=1m',
  '--kube-api-burst=20',
  '--kube-api-content-type=application/json',
  '--kube-api-qps=7.5',
  '--kubeconfig=/etc/kubeconfig',
  '--log-flush-frequency=1s',
  '--log-json-info-buffer-size=64Ki',
  '--log-json-split-stream',
  '--log-text-info-buffer-size=64Ki',
  '--log-text-split-stream',
  '--logging-format=json',
  '--machine-id-file=/etc/machine-id',
  '--boot-id-file=/proc/sys/kernel/random/boot_id',
  '--masquerade-all',
  '--master=https://10.0.0.1:6443',
  '--metrics-bind-address=127.0.0.1:10249',
  '--metrics-port=10301',
  '--nodeport-addresses=primary',
  '--oom-score-adj=-998',
  '--pod-bridge-interface=cbr0',
  '--pod-interface-name-prefix=veth',
  '--profiling',
  '--proxy-mode=userspace',
  '--show-hidden-metrics-for-version=1.35',
  '-v=4',
  '--v=4',
  '--vmodule=proxier=5',
]

t.test('every flag of kube-proxy is taken under its name', async (t) => {
  for (const flag of FLAGS) {
    t.doesNotThrow(() => loadRun(['--manifests', 'dir', flag]), flag)
  }
  const { config, options } = loadRun(['--manifests', 'dir', ...FLAGS])
  t.match(config, {
    nodeName: 'node-a',
    syncPeriodMs: 20_000,
    minSyncPeriodMs: 2000,
    nodePortAddresses: 'primary',
    profiling: true,
    logLevel: 'debug',
    nodeSetup: {
      conntrackMaxPerCore: 1000,
      conntrackMin: 2000,
      tcpEstablishedTimeoutMs: 43_200_000,
      tcpCloseWaitTimeoutMs: 1_800_000,
      tcpBeLiberal: true,
      udpTimeoutMs: 20_000,
      udpStreamTimeoutMs: 90_000,
      oomScoreAdj: -998,
    },
  })
  for (const warning of options.warnings) t.match(warning, /^--\S+ .*: \S/)
})

t.test('a flag and a field are in one table only', async (t) => {
  const rows = Object.values<OptionRow>(OPTIONS)
  const flags = [
    ...rows.map(({ flag }) => flag),
    ...rows.flatMap(({ kubeProxy = [] }) => kubeProxy.flatMap(({ flag }) => flag ?? [])),
    ...KUBE_PROXY_ONLY.flatMap(({ flag }) => flag ?? []),
  ]
  t.strictSame(flags.toSorted(), [...new Set(flags)].sort())
  const fields = [
    ...rows.flatMap(({ kubeProxy = [] }) => kubeProxy.flatMap(({ field }) => field ?? [])),
    ...KUBE_PROXY_ONLY.flatMap(({ field }) => field ?? []),
  ]
  t.strictSame(fields.toSorted(), [...new Set(fields)].sort())
})

t.test('defaults of the table are values of their types', async (t) => {
  for (const { field, flag, type, default: text } of KUBE_PROXY_ONLY) {
    t.ok('value' in type.parse(text), `${flag ?? ''} ${field ?? ''}`)
  }
})

t.test('modes that tell Pods by their interface are refused, with what to use', async (t) => {
  for (const mode of ['BridgeInterface', 'InterfaceNamePrefix']) {
    t.throws(() => loadRun(['--manifests', 'dir', `--detect-local-mode=${mode}`]), {
      message: /is not supported: .* not by its interface; give --cluster-cidr, or use NodeCIDR/,
    })
  }
})

t.test('--bind-address is the address of the node, unless it is every address', async (t) => {
  const ipOf = (...flags: string[]) => loadRun(['--manifests', 'dir', ...flags]).config.nodeIp
  t.equal(ipOf(), undefined)
  t.equal(ipOf('--bind-address=::'), undefined)
  t.equal(ipOf('--bind-address=192.0.2.9'), '192.0.2.9')
})
