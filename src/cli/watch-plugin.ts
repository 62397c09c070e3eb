/** Follows the file of the balancer plug-in: a version that is valid takes over, else the one before stays. */
import { readFileSync } from 'node:fs'
import { watchFile } from '../config/watch-file.js'
import { messageOf } from '../lib/errors.js'
import type { Logger } from '../observe/log.js'
import type { BalancerPlugin } from '../policy/balancer/plugin.js'
import { loadBalancerPlugin } from '../policy/load-balancer-plugin.js'

export interface PluginWatch {
  readonly log: Pick<Logger, 'info' | 'error'>
  readonly onReplaced: (plugin: BalancerPlugin, version: number) => void
}

/** The function that is returned ends it. Only the file itself is looked at, not what it imports. */
export function watchPlugin(file: string, { log, onReplaced }: PluginWatch): () => void {
  let version = 0
  const load = async (): Promise<void> => {
    const own = ++version
    try {
      const plugin = await loadBalancerPlugin(file, own)
      // Changed again meanwhile: the later one counts.
      if (own !== version) return
      onReplaced(plugin, own)
      log.info({ name: plugin.name }, `balancer plug-in ${file} has changed, and is in force`)
    } catch (error) {
      log.error(`${messageOf(error)}; the one before stays in force`)
    }
  }
  return watchFile(textOf(file), {
    file,
    onChange: () => void load(),
    onUnreadable: (reason) => {
      log.error(`balancer plug-in ${file}: ${reason}; what is in force stays`)
    },
  })
}

/** It was loaded a moment ago; should it be gone, the next text is a change. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
