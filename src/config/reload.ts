/**
 * A configuration that has changed while the proxy runs: options that are `live` change in the
 * RunConfig that everyone holds, in place; the others wait for a restart.
 */
import { runConfigOf, type LoadedRun } from './load.js'
import type { OptionRow } from './option-row.js'
import { OPTIONS, type OptionKey, type OptionValues } from './options.js'
import type { ResolvedOptions } from './resolve-options.js'

export interface Reload {
  /** In force now. */
  readonly options: ResolvedOptions
  /** Flags of the options that changed, and are in force. */
  readonly applied: readonly string[]
  /** Flags of the options that changed, and need a restart. */
  readonly needRestart: readonly string[]
}

/** Brings what can be into force; `running.config` is changed. */
export function applyReload(running: LoadedRun, next: ResolvedOptions): Reload {
  const before = running.options
  const changed = (Object.entries(OPTIONS) as [OptionKey, OptionRow][]).filter(
    ([key]) => before.texts.get(key) !== next.texts.get(key),
  )
  const live = changed.filter(([, row]) => row.live === true)
  const values: Partial<Record<OptionKey, unknown>> = { ...before.values }
  const texts = new Map(before.texts)
  for (const [key] of live) {
    values[key] = next.values[key]
    const text = next.texts.get(key)
    if (text === undefined) texts.delete(key)
    else texts.set(key, text)
  }
  const options = { ...next, values: values as OptionValues, texts }
  assignDeep(running.config, runConfigOf(options.values))
  const flags = (rows: typeof changed): string[] => rows.map(([, { flag }]) => `--${flag}`)
  return {
    options,
    applied: flags(live),
    needRestart: flags(changed.filter(([, row]) => row.live !== true)),
  }
}

/** Objects stay the same objects, so that whoever holds a part of the configuration sees the change. */
function assignDeep(target: object, source: object): void {
  const into = target as Record<string, unknown>
  for (const [key, value] of Object.entries(source)) {
    const current = into[key]
    if (isPlain(value) && isPlain(current)) assignDeep(current, value)
    else into[key] = value
  }
}

function isPlain(value: unknown): value is object {
  return (
    typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
  )
}
