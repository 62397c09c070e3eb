/** A folder in which `iptables` and its kin are of one variant, for PATH. */
import { existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const FOLDER = '/usr/sbin'
const ENDINGS = ['', '-save', '-restore'] as const

export type IptablesTools = 'legacy' | 'nft'

/** Why a variant is not there, or false. */
export function missingTools(variant: IptablesTools | undefined): string | false {
  if (variant === undefined) return false
  const path = join(FOLDER, `iptables-${variant}`)
  return existsSync(path) ? false : `${path} is not there; install iptables`
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
