/** Full and one-endpoint syncs of the modes that write rules, by the number of Services. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const ONCE = fileURLToPath(new URL('../sync-once.mjs', import.meta.url))
const TIMEOUT_MS = 170_000

/** @param {readonly string[]} args @returns {number} exit status */
export function run(args) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      modes: { type: 'string', default: 'nftables,iptables,iptables-legacy,ipvs' },
      sizes: { type: 'string', default: '100,1000,5000,10000' },
    },
  })
  if (process.getuid?.() !== 0) {
    console.error('perf: network namespaces need root')
    return 1
  }
  console.log(
    '| mode | Services | full ms | of it compute | MB | change ms | of it compute | peak MiB |',
  )
  console.log(
    '| ---- | -------- | ------- | ------------- | -- | --------- | ------------- | -------- |',
  )
  for (const name of values.modes.split(',')) {
    for (const size of values.sizes.split(',')) measure(name, size)
  }
  return 0
}

function measure(name, size) {
  const mode = name.replace(/-legacy$/, '')
  const variant = name.slice(mode.length)
  const command = ['-n', process.execPath, ONCE, mode, size, variant]
  const { stdout, stderr, status } = spawnSync('unshare', command, {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
  })
  if (status !== 0) {
    console.log(`| ${name} | ${size} | failed: ${stderr.trim().split('\n').at(-1) ?? ''} |`)
    return
  }
  const found = JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}')
  const ms = (value) => (value === undefined ? '' : value.toFixed(value < 10 ? 2 : 0))
  const megabytes = found.fullBytes === undefined ? '' : (found.fullBytes / 1e6).toFixed(1)
  console.log(
    `| ${name} | ${size} | ${ms(found.fullMs)} | ${ms(found.fullComputeMs)} | ${megabytes} | ` +
      `${ms(found.changeMs)} | ${ms(found.changeComputeMs)} | ${found.peakMiB.toFixed(0)} |`,
  )
}
