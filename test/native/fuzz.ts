/** Builds and runs the fuzz targets of native/fuzz for a bounded time each, where there is clang. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import t from 'tap'

const native = new URL('../../native/', import.meta.url).pathname
const SANITIZERS = ['-fsanitize=fuzzer,address,undefined', '-fno-sanitize-recover=all']
const BUILD = ['-std=c11', '-g', '-O1', '-Wall', '-Wextra', '-Werror', ...SANITIZERS]
const LIMITS = ['-max_total_time=15', '-max_len=2048', '-rss_limit_mb=1024', '-timeout=5']
const TIMEOUT_MS = 60_000

function run(command: string, args: string[]): { status: number | null; text: string } {
  const { status, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    maxBuffer: 64 << 20,
  })
  return { status, text: error?.message ?? stderr }
}

function reasonToSkip(folder: string): string | undefined {
  const source = join(folder, 'probe.c')
  const program = join(folder, 'probe')
  const head = 'int LLVMFuzzerTestOneInput(const unsigned char *data, unsigned long size)'
  writeFileSync(source, `${head};\n${head} { return data == 0 && size > 0; }\n`)
  const built = run('clang', [...BUILD, '-o', program, source])
  const result = built.status === 0 ? run(program, ['-runs=1']) : built
  if (result.status === 0) return undefined
  return `clang cannot build fuzz targets: ${result.text.split('\n', 1)[0] ?? ''}`
}

const bytes = (...values: number[]): Buffer => Buffer.from(values)

function attribute(type: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  const header = Buffer.alloc(4)
  header.writeUInt16LE(4 + body.length)
  header.writeUInt16LE(type, 2)
  return Buffer.concat([header, body, Buffer.alloc(-body.length & 3)])
}

/** For the parser that native/fuzz/netlink.c has at this place: a message with this body. */
function message(parser: number, type: number, flags: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  const header = Buffer.alloc(16)
  header.writeUInt32LE(16 + body.length)
  header.writeUInt16LE(type, 4)
  header.writeUInt16LE(flags, 6)
  return Buffer.concat([bytes(parser), header, body])
}

const INET = bytes(2, 0, 0, 0)
const IPV4_TCP = Buffer.from(
  '4500003c0000400040060000' +
    '0a47000a' +
    '0a600001' +
    '80000050000000010000000050020000' +
    '0000',
  'hex',
)
const IPV4_ICMP = Buffer.concat([
  Buffer.from('4500003800004000400100000a4700010a47000203030000' + '00000000', 'hex'),
  IPV4_TCP.subarray(0, 28),
])
const IPV6_EXTENSIONS = Buffer.concat([
  Buffer.from('60000000002c0040' + 'fd71'.padEnd(32, '0') + 'fd96'.padEnd(32, '0'), 'hex'),
  Buffer.from('2c00000000000000' + '3300000100000000' + '06010000000000000000000000000000', 'hex'),
  IPV4_TCP.subarray(20),
])

const ADDRESSES = attribute(1, attribute(1, bytes(10, 0, 0, 1)), attribute(2, bytes(10, 0, 0, 2)))
const PORTS = attribute(
  2,
  attribute(1, bytes(6)),
  attribute(2, bytes(1, 2)),
  attribute(3, bytes(0, 80)),
)
const KEY = attribute(1, attribute(1, bytes(10, 0, 0, 1)))
const COMMENT = attribute(6, bytes(0, 3, 97, 98, 0))
const VERDICT = attribute(2, attribute(2, attribute(1, bytes(255, 255, 255, 252))))
const DATA = attribute(2, attribute(1, bytes(0, 80, 0, 0)))

/** What libFuzzer starts from: whole messages, as the kernel writes them. */
const seeds: Readonly<Record<string, readonly Buffer[]>> = {
  packet: [IPV4_TCP, IPV4_ICMP, IPV6_EXTENSIONS],
  netlink: [
    message(
      0,
      0x300,
      0,
      INET,
      attribute(1, bytes(0, 0, 0, 1, 8, 0, 1, 0)),
      attribute(3, bytes(0, 0, 0, 1)),
      attribute(5, bytes(0, 0, 0, 2)),
      attribute(10, IPV4_TCP),
    ),
    message(
      1,
      0x100,
      0x400,
      INET,
      attribute(1, ADDRESSES, PORTS),
      attribute(2, ADDRESSES, PORTS),
      attribute(3, bytes(0, 0, 1, 142)),
      attribute(4, attribute(1, attribute(1, bytes(3)), attribute(4, bytes(1, 0)))),
      attribute(8, bytes(0, 0, 0, 16)),
    ),
    message(2, 0xa0c, 2, INET, attribute(3, attribute(1, KEY, VERDICT, COMMENT))),
    message(2, 0xa0c, 2, INET, attribute(3, attribute(1, KEY, DATA), attribute(1, KEY, DATA))),
    message(3, 2, 0x300, bytes(254, 255, 255, 255), Buffer.alloc(16), attribute(1, bytes(97, 0))),
    Buffer.concat([bytes(4), attribute(1, KEY), COMMENT, attribute(0x8003, PORTS)]),
  ],
}

const folder = t.testdir()
const skip = reasonToSkip(folder) ?? false
const targets = readdirSync(join(native, 'fuzz'))
  .filter((name) => name.endsWith('.c'))
  .map((name) => basename(name, '.c'))
const core = readdirSync(join(native, 'core'))
  .filter((name) => name.endsWith('.c'))
  .map((name) => join(native, 'core', name))

t.same(targets.sort(), Object.keys(seeds).sort(), 'every target has seeds')
for (const target of targets) {
  t.test(`${target}.c finds nothing`, { skip }, async (t) => {
    const program = join(folder, target)
    const corpus = join(folder, `${target}-corpus`)
    mkdirSync(corpus)
    seeds[target]?.forEach((seed, index) => {
      writeFileSync(join(corpus, String(index)), seed)
    })
    const source = join(native, 'fuzz', `${target}.c`)
    const built = run('clang', [...BUILD, '-o', program, source, ...core, '-lmnl'])
    t.equal(built.status, 0, built.text)
    const result = run(program, [...LIMITS, `-artifact_prefix=${folder}/`, corpus])
    t.equal(result.status, 0, result.status === 0 ? 'no crash' : result.text.slice(-4000))
    t.match(result.text, /^Done \d{4,} runs/m, 'it ran until its time was over')
  })
}
