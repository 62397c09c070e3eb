// What a fresh clone needs, decided from facts that setup.mjs gathers: no I/O here, so that
// test/ci/setup.ts can ask about machines that are not this one.

export const OLDEST_NODE = [20, 19]

/** System packages of Debian and Ubuntu; `probe` is a command, or the path of a file, that shows it is there. */
const BASE = [
  { name: 'iptables', probe: 'iptables' },
  { name: 'nftables', probe: 'nft' },
  { name: 'ipset', probe: 'ipset' },
  { name: 'iproute2', probe: 'ip' },
  { name: 'conntrack', probe: 'conntrack' },
  { name: 'libmnl-dev', probe: '/usr/include/libmnl/libmnl.h' },
  { name: 'pkg-config', probe: 'pkg-config' },
  { name: 'gcc', probe: 'gcc' },
  { name: 'g++', probe: 'g++' },
  { name: 'make', probe: 'make' },
  { name: 'python3', probe: 'python3' },
  { name: 'libc6-dev', probe: '/usr/include/stdio.h' },
  { name: 'util-linux', probe: 'unshare' },
]
/** For the fuzz targets of native/fuzz: libFuzzer comes with clang, and not with gcc. */
const FUZZ = [
  { name: 'clang', probe: 'clang' },
  { name: 'libclang-rt-14-dev', probe: '/usr/lib/llvm-14/lib/clang' },
]
/** The kernel that the ipvs mode is tested on (test/fixtures/uml.ts), which Debian has for x86 only. */
const USER_MODE_LINUX = [
  { name: 'user-mode-linux', probe: 'linux.uml' },
  { name: 'kmod', probe: 'modprobe' },
  { name: 'ipvsadm', probe: 'ipvsadm' },
]
/** Certificates of the tests. */
const TLS = [{ name: 'openssl', probe: 'openssl' }]
/** Real servers for the probes of health checks (test/policy/health/probe/real-servers.ts). */
const SERVERS = [
  { name: 'nginx', probe: 'nginx' },
  { name: 'redis-server', probe: 'redis-server' },
  { name: 'postgresql', probe: '/usr/lib/postgresql' },
  { name: 'mariadb-server-core', probe: 'mariadbd' },
  { name: 'mosquitto', probe: 'mosquitto' },
  { name: 'dnsmasq-base', probe: 'dnsmasq' },
  { name: 'exim4-daemon-light', probe: 'exim4' },
]
/** The browser that the status page is tested in. */
const BROWSER = [{ name: 'chromium', probe: 'chromium' }]
/** The peers that benchmarks compare with, and what drives them. */
const PERF = [
  { name: 'haproxy', probe: 'haproxy' },
  { name: 'nginx', probe: 'nginx' },
  { name: 'libnginx-mod-stream', probe: '/usr/lib/nginx/modules/ngx_stream_module.so' },
  { name: 'wrk', probe: 'wrk' },
  { name: 'iperf3', probe: 'iperf3' },
  { name: 'socat', probe: 'socat' },
]

const UML = process.arch === 'x64' ? USER_MODE_LINUX : []

/** The tasks of `node .ci/setup.mjs [TASK]`: system packages, and whether the program is built. */
const TASKS = {
  demo: { packages: BASE, build: true },
  test: { packages: [...BASE, ...TLS, ...FUZZ, ...UML, ...BROWSER, ...SERVERS], build: true },
  check: { packages: [], build: false },
  perf: { packages: [...BASE, ...PERF], build: true },
}

/** The row of TASKS, or undefined for an unknown name. */
export function taskNamed(name) {
  return Object.hasOwn(TASKS, name) ? TASKS[name] : undefined
}

export const TASK_NAMES = Object.keys(TASKS)

/** One line that says that this Node is too old, or undefined when it will do. */
export function nodeProblem(version) {
  const [major, minor] = version.split('.').map(Number)
  const [oldestMajor, oldestMinor] = OLDEST_NODE
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return undefined
  return `Node ${version} is too old: kube-sluice needs ${oldestMajor}.${oldestMinor} or later; install it and start again`
}

/** Whether os-release(5) text describes Debian, Ubuntu or a relative, where apt-get is the way. */
export function isDebianLike(osRelease) {
  const ids = /^ID(?:_LIKE)?=(.*)$/gm
  const words = [...osRelease.matchAll(ids)].flatMap(([, value]) =>
    value.replaceAll(/["']/g, '').split(' '),
  )
  return words.includes('debian') || words.includes('ubuntu')
}

/**
 * Names of `packages` that are not installed, from the output of
 * `dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\n'`.
 */
export function missingPackages(packages, dpkgOutput) {
  const installed = new Set()
  for (const line of dpkgOutput.split('\n')) {
    const fields = line.split(' ')
    if (fields.at(-1) === 'installed') installed.add(fields[0])
  }
  return packages.map(({ name }) => name).filter((name) => !installed.has(name))
}

/** Names of `packages` whose command or file cannot be found; `isThere(probe)` looks. */
export function missingTools(packages, isThere) {
  return packages.filter(({ probe }) => !isThere(probe)).map(({ name }) => name)
}

/** The line for someone who has to install the packages themselves. */
export function installAdvice({ missing, debianLike, isRoot }) {
  const names = missing.join(' ')
  if (!debianLike) return `missing: install what Debian calls ${names}, then start again`
  const sudo = isRoot ? '' : 'sudo '
  return `missing: type "${sudo}apt-get update && ${sudo}apt-get install -y --no-install-recommends ${names}", then start again`
}

/**
 * Why `npm ci` has to run, or undefined when it has not. npm writes node_modules/.package-lock.json
 * as its last act, so an interrupted install counts as none.
 *
 *   lock, installed       parsed package-lock.json, and node_modules/.package-lock.json or undefined
 *   canBuildAddons        compiler and Node headers are here
 *   triedWithCompiler     the last npm ci had them as well: an optional package left out then stays out
 */
export function installReason({ lock, installed, canBuildAddons, triedWithCompiler }) {
  if (installed === undefined) return 'node_modules is missing or unfinished'
  for (const [path, wanted] of Object.entries(lock.packages)) {
    if (path === '') continue
    const found = installed.packages[path]
    if (found === undefined && wanted.optional) continue
    if (found?.version !== wanted.version || found?.integrity !== wanted.integrity) {
      return `${path} is not what package-lock.json says`
    }
  }
  for (const path of Object.keys(installed.packages)) {
    if (lock.packages[path] === undefined) return `${path} is not in package-lock.json`
  }
  const leftOut = Object.entries(lock.packages).find(
    ([path, entry]) => entry.optional && entry.hasInstallScript && !installed.packages[path],
  )
  if (leftOut && canBuildAddons && !triedWithCompiler) return `${leftOut[0]} can be built now`
  return undefined
}

/** The prefix whose include/node holds the headers of this Node, for node-gyp; undefined without. */
export function nodeHeadersPrefix(prefixes, fileExists) {
  return prefixes.find((prefix) => fileExists(`${prefix}/include/node/node_api.h`))
}

/**
 * Compares the build with its sources. `stale`: outputs without a source; `missing`: whether a
 * source has no output, which an incremental compiler would not notice.
 */
export function compareBuild(sources, outputs) {
  const wanted = new Set(
    sources.filter((path) => path.endsWith('.ts')).map((path) => path.replace(/\.ts$/, '.js')),
  )
  const present = new Set(outputs)
  const isOutput = (path) => path.endsWith('.js') || path.endsWith('.js.map')
  return {
    stale: outputs.filter((path) => isOutput(path) && !wanted.has(path.replace(/\.map$/, ''))),
    missing: [...wanted].some((path) => !present.has(path)),
  }
}
