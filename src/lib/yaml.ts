/**
 * The YAML package, loaded by whoever meets the first YAML text: to load it takes a tenth of the time
 * in which a node's proxy starts, and most starts read none.
 */
import { createRequire } from 'node:module'

import type * as Yaml from 'yaml'

export type { Document, LineCounter } from 'yaml'

let loaded: typeof Yaml | undefined

export function yaml(): typeof Yaml {
  loaded ??= createRequire(import.meta.url)('yaml') as typeof Yaml
  return loaded
}
