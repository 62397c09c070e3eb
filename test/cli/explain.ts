/** `kube-sluice explain` as a program, without a running proxy. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Explanation } from '../../src/observe/explain/explain.js'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const MANIFESTS = fileURLToPath(new URL('../fixtures/golden/small.yaml', import.meta.url))
const explain = (...words: string[]) =>
  spawnSync(process.execPath, [MAIN, 'explain', ...words], { encoding: 'utf8' })
const QUESTION = ['tcp', '10.244.0.9', '10.96.0.10:80', '--manifests', MANIFESTS]

t.test('--manifests needs no running proxy', async (t) => {
  const { stdout, status, stderr } = explain(...QUESTION, '--proxy-mode', 'iptables')
  t.equal(status, 0, stderr)
  t.match(stdout, /^TCP 10.96.0.10 port 80 is the cluster-ip of Service port /)
  // The chain that the golden rules have for it.
  t.match(stdout, /KUBE-SERVICES -> KUBE-SVC-67NZLRHBNDSAWJRO/)
})

t.test('-o json is the document', async (t) => {
  const { stdout } = explain(...QUESTION, '-o', 'json', '--cluster-cidr', '10.244.0.0/16')
  t.match(JSON.parse(stdout) as Explanation, { verdict: 'endpoint', source: 'pod' })
})

t.test('bad input is one line and status 2', async (t) => {
  for (const [words, line] of [
    [[], /^kube-sluice: explain needs three words first: .*\n$/],
    [['tcp', '10.0.0.5', 'web'], /^kube-sluice: explain: destination "web": .*\n$/],
    [['tcp', '10.0.0.5', '10.96.0.10:80', '--bogus'], /^kube-sluice: --bogus is not known .*\n$/],
  ] as const) {
    const { status, stderr, stdout } = explain(...words)
    t.equal(status, 2)
    t.equal(stdout, '')
    t.match(stderr, line)
  }
})
