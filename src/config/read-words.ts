/** From the words of the command line to the text of each flag. */
import { nearestName } from '../lib/nearest-name.js'
import { KUBE_PROXY_ONLY } from './kube-proxy-only.js'
import type { CommandName, KubeProxyName, OptionRow } from './option-row.js'
import { optionsOf } from './options.js'

export interface GivenFlags {
  /** Flag without dashes -> the last text given for it. */
  readonly texts: ReadonlyMap<string, string>
  readonly problems: readonly string[]
}

/** A flag that may be given, by any of its names. */
interface KnownFlag {
  readonly flag: string
  readonly short: string | undefined
  readonly isRepeatable?: true | undefined
  /** A switch may stand without a value. */
  readonly isSwitch: boolean
}

/** Never throws. A word that is no flag, or a flag without its value, is a problem each. */
export function readWords(command: CommandName, words: readonly string[]): GivenFlags {
  const problems: string[] = []
  const texts = new Map<string, string>()
  const known = knownFlags(command)
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? ''
    const [name, inline] = splitWord(word)
    const found = known.find(
      ({ flag, short }) => name === `--${flag}` || (short !== undefined && name === `-${short}`),
    )
    if (found === undefined) {
      problems.push(unknownFlag(command, word, known))
      continue
    }
    const { flag, isSwitch, isRepeatable } = found
    const give = (text: string): void => {
      const before = isRepeatable === true ? texts.get(flag) : undefined
      texts.set(flag, before === undefined ? text : `${before},${text}`)
    }
    if (inline !== undefined) give(inline)
    else if (isSwitch) give('true')
    else if (words[i + 1] === undefined) problems.push(`--${flag} needs a value`)
    else give(words[++i] ?? '')
  }
  return { texts, problems }
}

function knownFlags(command: CommandName): KnownFlag[] {
  const rows = optionsOf(command)
  const own = rows.map(({ flag, short, type, isRepeatable }) => ({
    flag,
    short,
    isRepeatable,
    isSwitch: type.placeholder === undefined,
  }))
  if (!['run', 'render', 'explain'].includes(command)) return own
  const aliases = rows.flatMap((row) => aliasFlags(row))
  const others = KUBE_PROXY_ONLY.flatMap(({ flag, short, type }) =>
    flag === undefined ? [] : [{ flag, short, isSwitch: type.placeholder === undefined }],
  )
  return [...own, ...aliases, ...others]
}

function aliasFlags({ kubeProxy = [], type }: OptionRow): KnownFlag[] {
  return kubeProxy.flatMap(({ flag, short, read }: KubeProxyName) =>
    flag === undefined
      ? []
      : [{ flag, short, isSwitch: type.placeholder === undefined && read === undefined }],
  )
}

function splitWord(word: string): [string, string | undefined] {
  const equals = word.startsWith('-') ? word.indexOf('=') : -1
  return equals < 0 ? [word, undefined] : [word.slice(0, equals), word.slice(equals + 1)]
}

function unknownFlag(command: CommandName, word: string, known: readonly KnownFlag[]): string {
  const flag = word.replace(/^-+/, '').split('=', 1)[0] ?? ''
  const nearest = nearestName(
    flag,
    known.map((one) => one.flag),
  )
  const hint = nearest === undefined ? '' : `; did you mean --${nearest}?`
  return `${word} is not known to "kube-sluice ${command}"${hint}`
}
