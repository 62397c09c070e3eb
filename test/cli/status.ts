/** `kube-sluice status` as a program: in a pipe, and in a terminal with a keyboard. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { ProxyStatus } from '../../src/observe/status.js'
import { threeServices } from '../fixtures/status-document.js'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const WAIT_MS = 20_000
/** Of Debian's bsdutils: runs a command in a terminal of its own. */
const SCRIPT = '/usr/bin/script'

const server = createServer((_, response) => {
  response.end(JSON.stringify(threeServices()))
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
t.teardown(() => {
  server.closeAllConnections()
  server.close()
})
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

async function inPipe(...flags: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, [MAIN, 'status', '--url', url, ...flags], {
    env: { TERM: 'xterm' },
  })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()))
  await once(child, 'close')
  return text
}

t.test('in a pipe: no colours, no limit of columns', async (t) => {
  const text = await inPipe()
  t.notMatch(text, '\u001b')
  t.match(text, /connect ECONNREFUSED 10.244.2.2:8080\n/)
  t.notMatch(await inPipe('-n', 'kube-system'), 'test/web')
})

t.test('-o json: the document, with the Services that were asked for in that order', async (t) => {
  const names = async (...flags: string[]) =>
    (JSON.parse(await inPipe('-o', 'json', ...flags)) as ProxyStatus).services.map(
      ({ name }) => name,
    )
  t.strictSame(JSON.parse(await inPipe('-o', 'json')), JSON.parse(JSON.stringify(threeServices())))
  t.same(await names('--sort', 'state', '-n', 'test'), ['test/zero', 'test/web:http'])
  t.same(await names('--filter', '10.244.3.3'), ['kube-system/dns:dns'])
})

class Terminal {
  readonly #child: ChildProcess
  /** All that was written. */
  text = ''

  constructor(columns: number, flags: string, env: Record<string, string>) {
    const command = `stty cols ${columns} rows 24; exec ${process.execPath} ${MAIN} status --url ${url} ${flags}`
    this.#child = spawn(SCRIPT, ['-qec', command, '/dev/null'], {
      env: { PATH: process.env['PATH'], TERM: 'xterm', SHELL: '/bin/sh', ...env },
    })
    t.teardown(() => this.#child.kill('SIGKILL'))
    this.#child.stdout?.on('data', (chunk: Buffer) => (this.text += chunk.toString()))
  }

  /** What was written since the call, once the condition holds of it. */
  async until(what: RegExp, after = 0): Promise<string> {
    const deadline = Date.now() + WAIT_MS
    while (Date.now() < deadline) {
      const text = this.text.slice(after)
      if (what.test(text)) return text
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    throw new Error(`${String(what)} is not in ${JSON.stringify(this.text.slice(after))}`)
  }

  /** Sends keys and waits. */
  async press(keys: string, what: RegExp): Promise<string> {
    const { length } = this.text
    this.#child.stdin?.write(keys)
    return this.until(what, length)
  }

  async ended(): Promise<number | null> {
    if (this.#child.exitCode === null) await once(this.#child, 'close')
    return this.#child.exitCode
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

const skip = existsSync(SCRIPT) ? false : `${SCRIPT} is not installed`

t.test(
  '--watch in a terminal: keys sort, filter and quit',
  { skip, timeout: 60_000 },
  async (t) => {
    const terminal = new Terminal(80, '--watch', {})
    await terminal.until(/1-7 of 7/)
    t.match(terminal.text, '\u001b[?1049h', 'the screen is one of its own')
    t.match(terminal.text, '\u001b[31mdown\u001b[0m')
    await terminal.until(/0 new\/s/)
    const sorted = await terminal.press('s', /by state/)
    t.ok(sorted.indexOf('test/zero') < sorted.indexOf('test/web'), 'trouble first')
    await terminal.press('/dns', /\/dns_/)
    const filtered = await terminal.press('\r', /filter dns/)
    t.match(filtered, '1-2 of 2')
    t.notMatch(filtered, 'test/web')
    await terminal.press('?', /sort by name/)
    await terminal.press('\u001b', /1-7 of 7/)
    await terminal.press('q', /\?1049l/)
    t.equal(await terminal.ended(), 0)
  },
)

t.test('narrow, and NO_COLOR: no line is too wide, none has a colour', { skip }, async (t) => {
  for (const columns of [80, 60, 40]) {
    const terminal = new Terminal(columns, '', { NO_COLOR: '1' })
    t.equal(await terminal.ended(), 0)
    t.notMatch(terminal.text, '\u001b')
    const lines = terminal.text.replaceAll('\r', '').split('\n')
    t.ok(lines.length > 10)
    // One word of the head is longer than the narrowest of them.
    t.same(
      lines.filter((line) => line.length > columns),
      [],
    )
  }
})
