import t from 'tap'

import {
  commandRunner,
  commandTimeoutMs,
  eachLine,
  firstLine,
  installCommand,
  isMissingTool,
  MAX_OUTPUT_BYTES,
  runChecked,
} from '../../src/kernel/command.js'

const run = commandRunner()

t.test('text goes in, text and the exit status come out', async (t) => {
  t.same(await run('sh', ['-c', 'cat; echo oops >&2; exit 3'], 'hello'), {
    status: 3,
    stdout: 'hello',
    stderr: 'oops\n',
  })
  t.equal(await runChecked(run, 'sh', ['-c', 'echo fine']), 'fine\n')
})

t.test('a refusal carries command, status and the first line that says something', async (t) => {
  const script = 'echo "# Warning: a hint" >&2; echo "no such chain" >&2; exit 4'
  await t.rejects(runChecked(run, 'sh', ['-c', script]), {
    code: 'ERR_TOOL',
    message: /^sh -c .*: exit 4: no such chain$/,
    context: { status: 4 },
  })
  await t.rejects(runChecked(run, 'false', []), { message: 'false: exit 1: it said nothing' })
})

t.test('output that is taken line by line has no bound', async (t) => {
  const LENGTH = 4096
  let lines = 0
  const most = MAX_OUTPUT_BYTES / LENGTH + 10
  const script = `yes ${'x'.repeat(LENGTH - 1)} | head -n ${most}`
  await eachLine(run, 'sh', ['-c', script], (line) => {
    if (line.length === LENGTH - 1) lines++
  })
  t.equal(lines, most)
  await t.rejects(
    eachLine(run, 'sh', ['-c', 'echo oops >&2; exit 3'], () => undefined),
    {
      message: /^sh -c .*: exit 3: oops$/,
    },
  )
  await t.rejects(
    eachLine(run, 'no-such-tool', [], () => undefined),
    {
      message: 'no-such-tool is not installed; type: apt-get install -y no-such-tool',
    },
  )
  const remembered = async () => ({ status: 0, stdout: 'a\nb', stderr: '' })
  const said: string[] = []
  await eachLine(remembered, 'any', [], (line) => said.push(line))
  t.same(said, ['a', 'b'])
})

t.test('a tool that is missing says what to install', async (t) => {
  const error: unknown = await run('no-such-tool', []).catch((error: unknown) => error)
  t.match(error, {
    code: 'ERR_TOOL',
    message: 'no-such-tool is not installed; type: apt-get install -y no-such-tool',
  })
  t.ok(isMissingTool(error))
  t.notOk(isMissingTool(new Error('something else')))
  t.equal(installCommand('ip6tables-legacy-restore'), 'apt-get install -y iptables')
  t.equal(installCommand('ip'), 'apt-get install -y iproute2')
})

t.test('a tool that does not read its input is no error', async (t) => {
  t.equal((await run('true', [], 'x'.repeat(1_000_000))).status, 0)
})

t.test('tools are started through the prefix', async (t) => {
  const { stdout } = await commandRunner(['env', 'ANSWER=42'])('sh', ['-c', 'echo $ANSWER'])
  t.equal(stdout, '42\n')
})

t.test('text of nothing but blanks and hints has no first line', async (t) => {
  t.equal(firstLine('\n  \n# hint\n'), undefined)
  t.equal(firstLine('\n  word \nnext'), 'word')
})

t.test('a tool with much to read may take longer', async (t) => {
  t.equal(commandTimeoutMs(0), 30_000)
  t.equal(commandTimeoutMs(32_000_000), 190_000)
})
