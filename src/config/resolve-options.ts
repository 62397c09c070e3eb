/**
 * Flag, then file, then default: the text of every option, and its value. In the file our document
 * goes before kube-proxy's. All problems are gathered.
 */
import { familyOf, parseIpAddress } from '../lib/ip-address.js'
import type { ConfigFile, FileSetting } from './config-file.js'
import { KUBE_PROXY_ONLY } from './kube-proxy-only.js'
import { fileKeyOf, isInFile, type KubeProxyName, type OptionRow } from './option-row.js'
import { OPTIONS, type OptionKey, type OptionValues } from './options.js'

export interface ResolvedOptions {
  readonly values: OptionValues
  /** As it would be written; absent for an option without value. */
  readonly texts: ReadonlyMap<OptionKey, string>
  /** What was given for KUBE_PROXY_ONLY, by field. */
  readonly ignored: ReadonlyMap<string, string>
  /** Whether the value of an option is its default. */
  readonly isDefault: (key: OptionKey) => boolean
  /** One line each: settings that have no effect here, with the reason. */
  readonly warnings: readonly string[]
  readonly problems: readonly string[]
}

/** A text and where it was given. */
interface Given {
  readonly text: string
  /** `--flag`, or `FILE:LINE: KIND FIELD`. */
  readonly where: string
}

const NO_FILE: ConfigFile = { ours: new Map(), kubeProxy: new Map(), problems: [] }

/** Never throws: what cannot be read is in `problems`, and has no value then. */
export function resolveOptions(
  flags: ReadonlyMap<string, string>,
  file: ConfigFile = NO_FILE,
): ResolvedOptions {
  const problems = [...file.problems]
  const warnings: string[] = []
  const values: Partial<Record<OptionKey, unknown>> = {}
  const texts = new Map<OptionKey, string>()
  const defaults = new Set<OptionKey>()
  const modeText = given(OPTIONS.proxyMode, { flags, file, mode: '' })?.text
  const mode = modeText === undefined || modeText === '' ? OPTIONS.proxyMode.default : modeText
  const isIPv6 = isIPv6Text(given(OPTIONS.bindAddress, { flags, file, mode })?.text)
  for (const [key, row] of Object.entries(OPTIONS) as [OptionKey, OptionRow][]) {
    const found = given(row, { flags, file, mode, warnings })
    if (found === undefined) defaults.add(key)
    const text = found?.text ?? (isIPv6 ? (row.defaultIPv6 ?? row.default) : row.default)
    if (text === undefined) continue
    const parsed = row.type.parse(text)
    if ('value' in parsed) {
      values[key] = parsed.value
      texts.set(key, text)
    } else problems.push(`${found?.where ?? `--${row.flag}`} "${text}" ${parsed.problem}`)
  }
  const ignored = readIgnored(flags, file, { problems, warnings })
  return {
    values: values as OptionValues,
    texts,
    ignored,
    isDefault: (key) => defaults.has(key),
    warnings,
    problems,
  }
}

interface Sources {
  readonly flags: ReadonlyMap<string, string>
  readonly file: ConfigFile
  /** Which of kube-proxy's per-mode settings count. */
  readonly mode: string
  readonly warnings?: string[]
}

function given(row: OptionRow, { flags, file, mode, warnings }: Sources): Given | undefined {
  const flag = flags.get(row.flag)
  if (flag !== undefined) return { text: flag, where: `--${row.flag}` }
  const names = (row.kubeProxy ?? []).filter(({ modes }) => modes?.includes(mode) ?? true)
  for (const { flag: name, read, deprecated } of names) {
    const text = name === undefined ? undefined : flags.get(name)
    if (name === undefined || text === undefined) continue
    if (deprecated !== undefined) {
      warnings?.push(`--${name} is deprecated: ${deprecated}; use --${row.flag}`)
    }
    return { text: read?.(text) ?? text, where: `--${name}` }
  }
  const own = isInFile(row) ? file.ours.get(fileKeyOf(row)) : undefined
  return own ?? fromKubeProxy(names, file)
}

function fromKubeProxy(names: readonly KubeProxyName[], file: ConfigFile): Given | undefined {
  for (const { field, read, zeroCounts } of names) {
    const setting = field === undefined ? undefined : file.kubeProxy.get(field)
    if (setting === undefined || (setting.isZero && zeroCounts !== true)) continue
    return { text: read?.(setting.text) ?? setting.text, where: setting.where }
  }
  return undefined
}

function isIPv6Text(text: string | undefined): boolean {
  const address = parseIpAddress(text ?? '')
  return address !== undefined && familyOf(address) === 'IPv6'
}

function readIgnored(
  flags: ReadonlyMap<string, string>,
  file: ConfigFile,
  { problems, warnings }: { readonly problems: string[]; readonly warnings: string[] },
): ReadonlyMap<string, string> {
  const ignored = new Map<string, string>()
  for (const { flag, field, type, default: defaultText, reason } of KUBE_PROXY_ONLY) {
    const flagText = flag === undefined ? undefined : flags.get(flag)
    const setting: FileSetting | undefined =
      field === undefined ? undefined : file.kubeProxy.get(field)
    const fromFile = setting?.isZero === true ? undefined : setting
    const text = flagText ?? fromFile?.text
    if (text === undefined) continue
    const where = flagText === undefined ? (fromFile?.where ?? '') : `--${flag ?? ''}`
    const parsed = type.parse(text)
    if ('problem' in parsed) problems.push(`${where} "${text}" ${parsed.problem}`)
    else if (text !== defaultText) warnings.push(`${where} "${text}" has no effect here: ${reason}`)
    if (field !== undefined) ignored.set(field, text)
  }
  return ignored
}
