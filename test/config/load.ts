import t from 'tap'
import { loadRunConfig, parseFlags } from '../../src/config/load.js'

const problem = (words: string[]): string => {
  try {
    loadRunConfig(words)
  } catch (error) {
    return (error as Error).message
  }
  return ''
}

t.test('defaults are those of the documentation', async (t) => {
  t.match(loadRunConfig(['--manifests', 'dir', '--hostname-override', ' Node-A ']), {
    manifests: 'dir',
    nodeName: 'node-a',
    proxyMode: 'auto',
    healthzBindAddress: { address: '0.0.0.0', port: 10256 },
    metricsBindAddress: { address: '127.0.0.1', port: 10249 },
    syncPeriodMs: 30_000,
    minSyncPeriodMs: 0,
    localhostNodePorts: true,
    userspace: {
      capture: 'auto',
      connectAttempts: 3,
      connectTimeoutMs: 1000,
      retryBudgetPercent: 20,
      udpTimeoutMs: 30_000,
      udpStreamTimeoutMs: 120_000,
      tproxyMarkBit: 13,
    },
  })
})

t.test('flags are read with a blank or an equals sign, the last one counts', async (t) => {
  const words = ['--manifests=a', '--connect-timeout=250ms', '--masquerade-all', '--manifests', 'b']
  t.match(loadRunConfig(words), {
    manifests: 'b',
    masqueradeAll: true,
    userspace: { connectTimeoutMs: 250 },
  })
  t.match(loadRunConfig(['--manifests=a', '--masquerade-all=false']), { masqueradeAll: false })
  t.match(loadRunConfig(['--manifests=a', '--healthz-bind-address=']), {
    healthzBindAddress: undefined,
  })
  t.equal(parseFlags('status', ['-o', 'json']).output, 'json')
})

t.test('every problem is reported at once, with flag, value and what is allowed', async (t) => {
  const lines = problem(['--connect-attempts', '0', '--connect-timeout=5', '--proxy-mod=x']).split(
    '\n',
  )
  t.equal(lines.length, 3)
  t.match(lines[0], /--proxy-mod=x.*did you mean --proxy-mode/)
  t.match(lines.join(), /--connect-attempts "0" is not a whole number from 1 to 10/)
  t.match(lines.join(), /--connect-timeout "5" is not a duration.*did you mean 5s/)
})

t.test('the share of probes may be a fraction of a percent', async (t) => {
  const share = (text: string) => ['--manifests=a', `--health-check-share=${text}`]
  t.match(loadRunConfig(share('0.06')), { health: { scope: { sharePercent: 0.06 } } })
  t.match(loadRunConfig(share('100')), { health: { scope: { sharePercent: 100 } } })
  for (const wrong of ['100.1', '-1', '0.00001', '1e1', '']) {
    t.match(problem(share(wrong)), /--health-check-share ".*" is not a number from 0 to 100/)
  }
})

t.test('what belongs to other versions says so', async (t) => {
  t.match(
    problem(['--proxy-mode', 'kernelspace', '--manifests', 'a']),
    /"kernelspace" is unknown.*allowed: auto, userspace, nfqueue/,
  )
  t.match(problem(['--config', '/no/such', '--manifests', 'a']), /\/no\/such: ENOENT.*name a file/)
  t.match(problem(['--manifests']), /--manifests needs a value/)
})
