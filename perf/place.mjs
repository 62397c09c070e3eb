/** Where a scenario happens: network namespaces and a folder, both gone when it ends or is interrupted. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { NetworkNamespaces } from '../dist/kernel/netns.js'

/** Of the repository. */
export const ROOT = fileURLToPath(new URL('../', import.meta.url))
/** Sysctls of namespaces that open many connections. */
export const MANY_CONNECTIONS = {
  'net.ipv4.ip_local_port_range': '"1024 65000"',
  'net.ipv4.tcp_tw_reuse': '1',
}

/**
 * Runs `body({ namespaces, folder })` and clears up after it.
 * @returns {Promise<number>} exit status: what the body returns, if anything
 */
export async function inPlace(body) {
  if (process.getuid?.() !== 0) {
    console.error('perf: network namespaces need root')
    return 1
  }
  const folder = mkdtempSync(join(tmpdir(), 'kube-sluice-perf-'))
  const namespaces = new NetworkNamespaces(`ks-perf-${process.pid}`)
  const stop = () => {
    // Not closeSync(): nginx's workers are children of a child, only close() ends those too.
    void namespaces.close().finally(() => {
      rmSync(folder, { recursive: true, force: true })
      process.exit(130)
    })
  }
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  try {
    return (await body({ namespaces, folder })) ?? 0
  } finally {
    await namespaces.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A veth pair with addresses: each end is [namespace, device, address or undefined]. */
export async function link(namespaces, one, other) {
  await namespaces.connect({ netns: one[0], device: one[1] }, { netns: other[0], device: other[1] })
  for (const [netns, device, ip] of [one, other]) {
    if (ip !== undefined) await namespaces.configure(netns, [`addr add ${ip} dev ${device}`])
  }
}

/** Standard output of a command in a namespace; rejects when it fails or takes over a minute. */
export function output({ namespaces }, netns, command) {
  return new Promise((resolve, reject) => {
    const child = namespaces.spawn(netns, command, { stdio: ['ignore', 'pipe', 'pipe'] })
    let text = ''
    let errors = ''
    const timer = setTimeout(() => child.kill('SIGKILL'), 60_000)
    child.stdout.on('data', (chunk) => (text += chunk))
    child.stderr.on('data', (chunk) => (errors += chunk))
    child.on('close', (code) => {
      clearTimeout(timer)
      if (code === 0) resolve(text)
      else reject(new Error(`${command.join(' ')}: exit ${code}: ${errors.trim()}`))
    })
  })
}

/** Gives a tool of rules (`nft -f -`, `iptables-restore`) its input, in a namespace. */
export function loadRules(netns, command, input) {
  execFileSync('ip', ['netns', 'exec', netns, ...command], { input, maxBuffer: 1 << 26 })
}

/**
 * Compiles load/NAME.c into the folder, with parts of native/core where it builds on them.
 * @returns {string} path of the program
 */
export function compileLoad(folder, name, core = []) {
  const program = join(folder, name)
  const parts = core.map((part) => join(ROOT, `native/core/${part}.c`))
  const libraries = core.length > 0 ? ['-lmnl'] : []
  execFileSync('cc', [
    '-O2',
    '-o',
    program,
    join(ROOT, `perf/load/${name}.c`),
    ...parts,
    ...libraries,
  ])
  return program
}

/** Runs `once()` until it is true, some ten times. Throws when it never is. */
export async function eventually(what, once) {
  for (let attempt = 0; attempt < 10; attempt++) {
    if (await once()) return
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  throw new Error(`perf: ${what}`)
}
