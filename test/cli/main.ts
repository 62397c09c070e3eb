/** The built program as a black box: exit status and messages. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { COMMAND_NAMES, optionsOf } from '../../src/config/options.js'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const run = (...args: string[]) =>
  spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', timeout: 20_000 })

t.test('help of every command lists its options, with examples', async (t) => {
  for (const command of COMMAND_NAMES) {
    const { status, stdout } = run(command, '--help')
    t.equal(status, 0, command)
    t.match(stdout, /Examples:/)
    for (const { flag } of optionsOf(command)) t.match(stdout, `--${flag}`)
    for (const line of stdout.split('\n')) t.ok(line.length <= 120, line)
  }
})

t.test('bad usage is exit status 2 and one line that helps', async (t) => {
  for (const [args, expected] of [
    [['rnu'], /no command "rnu".*"run"/],
    [['run'], /no --manifests, no --kubeconfig, and this is no Pod/],
    [['run', '--kubeconfig', '/nowhere'], /kubeconfig .nowhere: ENOENT/],
    [['run', '--manifest', 'x'], /did you mean --manifests/],
    [['completion', 'tcsh'], /bash, zsh, fish/],
  ] as const) {
    const { status, stderr, stdout } = run(...args)
    t.equal(status, 2, args.join(' '))
    t.match(stderr, expected)
    t.equal(stdout, '')
  }
  t.equal(run().status, 2)
})

t.test('failure at run time is exit status 1', async (t) => {
  const { status, stderr } = run('status', '--url', 'http://127.0.0.1:1')
  t.equal(status, 1)
  t.match(stderr, /no proxy answers at 127.0.0.1:1.*is it running/)
})

t.test('the version is that of the package', async (t) => {
  t.match(run('--version').stdout, /^kube-sluice \d+\.\d+\.\d+\n$/)
})

t.test('bash completes commands, flags and values', async (t) => {
  const complete = (...words: string[]) => {
    const script = `source <(${process.execPath} ${MAIN} completion bash)
      COMP_WORDS=(kube-sluice ${words.join(' ')} '') COMP_CWORD=${words.length + 1}
      _kube_sluice; echo "\${COMPREPLY[*]}"`
    return spawnSync('bash', ['-c', script], { encoding: 'utf8', timeout: 20_000 }).stdout.trim()
  }
  t.equal(complete(), COMMAND_NAMES.join(' '))
  t.match(complete('run'), /--manifests .*--connect-attempts/)
  t.equal(complete('run', '--userspace-capture'), 'auto tproxy anyip redirect')
})
