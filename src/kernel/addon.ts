/**
 * Loads the native addon, once a process. Nothing else in the program touches the .node file;
 * callers use the wrappers beside it (socket.ts, netfilter.ts, packet-queue.ts, ...).
 */
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

import { messageOf, SluiceError } from '../lib/errors.js'
import type { NativeAddon } from './addon-types.js'

/** Where the addon may be, in order. src/kernel and dist/kernel are equally deep. */
const CANDIDATES = ['../../native/build/kube-sluice.node'].map((path) =>
  fileURLToPath(new URL(path, import.meta.url)),
)

const BUILD_COMMAND = 'node native/build.mjs'

let loaded: NativeAddon | undefined

/**
 * The addon, loaded on first use.
 * @throws SluiceError ERR_ADDON with every path tried, why each failed, and the build command.
 */
export function loadAddon(): NativeAddon {
  loaded ??= loadFirst(CANDIDATES)
  return loaded
}

/** Exported for its test: loads the first of `paths` that can be loaded. */
export function loadFirst(paths: readonly string[]): NativeAddon {
  const require = createRequire(import.meta.url)
  const failures: string[] = []
  for (const path of paths) {
    try {
      // The one place where the addon gets its type; native/binding is written against it.
      return require(path) as NativeAddon
    } catch (error) {
      // Only the first line: Node appends a "Require stack" that says nothing here.
      failures.push(`${path} (${messageOf(error).split('\n', 1)[0] ?? ''})`)
    }
  }
  throw new SluiceError(
    'ERR_ADDON',
    `the native addon cannot be loaded; tried ${failures.join(', ')}; build it with: ${BUILD_COMMAND}`,
    { context: { paths } },
  )
}
