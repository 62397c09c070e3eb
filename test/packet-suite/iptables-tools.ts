/** A folder in which `iptables` and its kin are of one variant, for PATH. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const FOLDER = '/usr/sbin'
const PROBE_MS = 20_000
const ENDINGS = ['', '-save', '-restore'] as const

export type IptablesTools = 'legacy' | 'nft'

/** Why a variant is not there, or false. */
export function missingTools(variant: IptablesTools | undefined): string | false {
  if (variant === undefined) return false
  const path = join(FOLDER, `iptables-${variant}`)
  if (!existsSync(path)) return `${path} is not there; install iptables`
  // A kernel may have the one kind of tables and not the other.
  const { status, stderr } = spawnSync('unshare', ['--net', path, '-t', 'nat', '-S'], {
    encoding: 'utf8',
    timeout: PROBE_MS,
  })
  return status === 0 ? false : `no iptables-${variant} on this kernel: ${stderr.trim()}`
}

/** Makes the folder; `remove` removes it. */
export function toolsFolder(variant: IptablesTools): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'kube-sluice-iptables-'))
  for (const command of ['iptables', 'ip6tables']) {
    for (const ending of ENDINGS) {
      symlinkSync(join(FOLDER, `${command}-${variant}${ending}`), join(path, `${command}${ending}`))
    }
  }
  return {
    path,
    remove: () => {
      rmSync(path, { recursive: true, force: true })
    },
  }
}
