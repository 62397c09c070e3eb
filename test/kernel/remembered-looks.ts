import t from 'tap'

import { rememberLooks } from '../../src/kernel/remembered-looks.js'
import type { RunCommand } from '../../src/kernel/command.js'

/** A kernel with one line of rules, and what was run on it. */
function makeKernel() {
  const runs: string[] = []
  let rules = 'old'
  const run: RunCommand = async (tool, args, input) => {
    runs.push([tool, ...args].join(' '))
    if (tool.endsWith('-restore')) rules = input ?? ''
    await new Promise((resolve) => setImmediate(resolve))
    return { status: 0, stdout: rules, stderr: '' }
  }
  return { runs, run: rememberLooks(run) }
}

t.test('the same look is run once, also when two ask at once', async (t) => {
  const { run, runs } = makeKernel()
  const answers = await Promise.all([run('iptables-save', []), run('iptables-save', [])])
  answers.push(await run('iptables-save', []))
  t.same(
    answers.map(({ stdout }) => stdout),
    ['old', 'old', 'old'],
  )
  await run('iptables-save', ['-t', 'nat'])
  await run('ipset', ['list', '-terse'])
  await run('ipset', ['list', '-terse'])
  await run('ip', ['-4', '-json', 'rule', 'show'])
  t.same(runs, [
    'iptables-save',
    'iptables-save -t nat',
    'ipset list -terse',
    'ip -4 -json rule show',
  ])
})

t.test('after a change it looks again, also when it looked meanwhile', async (t) => {
  const { run, runs } = makeKernel()
  await run('iptables-save', [])
  const change = run('iptables-restore', ['--noflush'], 'new')
  const meanwhile = run('iptables-save', [])
  await Promise.all([change, meanwhile])
  t.equal((await run('iptables-save', [])).stdout, 'new')
  t.equal(runs.filter((line) => line === 'iptables-save').length, 3)
})

t.test('what has input, or does not only print, is always run', async (t) => {
  const { run, runs } = makeKernel()
  await run('ip', ['-batch', '-'], 'route show\n')
  await run('ip', ['-batch', '-'], 'route show\n')
  await run('nft', ['flush', 'map', 'ip', 'kube-sluice', 'endpoints'])
  await run('nft', ['flush', 'map', 'ip', 'kube-sluice', 'endpoints'])
  t.equal(runs.length, 4)
})
