/**
 * Sets of addresses and ports as text for `ipset restore`. Pure but for the functions that ask
 * the kernel. Names have at most 31 bytes (IPSET_MAXNAMELEN), the temporary one included. Those of our
 * IPv6 sets end in `-6`; those of the sets that kube-proxy has too begin with `KUBE-6-`, as there.
 *
 * A set whose content is not known, or much changed, is built beside the live one and swapped in,
 * so that no packet ever meets half of it; few changes are single add and del lines.
 */
import type { IpFamily } from '../lib/ip-address.js'
import { type RunCommand, runChecked } from './command.js'

export interface IpSet {
  /** Without the family: setName() makes the kernel's name. */
  readonly name: string
  readonly type: 'hash:ip' | 'hash:ip,port' | 'hash:ip,port,ip' | 'hash:ip,port,net' | 'bitmap:port'
  readonly family: IpFamily
  /** `10.0.0.1,tcp:80`, `10.0.0.1,tcp:80,192.0.2.0/24`, `30080`: without repetition. */
  readonly entries: readonly string[]
  /** Entries go by themselves after as long. */
  readonly timeoutSeconds?: number
}

/** What the kernel has, by kernel name: the entries, or that there is such a set. */
export type KernelSets = ReadonlyMap<string, ReadonlySet<string> | 'unknown'>

/** The default of ipset(8); more where the entries need it. */
const MIN_MAXELEM = 65_536
/** More changes than this, and than a quarter of the entries: replacing is cheaper. */
const MIN_REPLACE_CHANGES = 16
const TEMPORARY_SUFFIX = '-N'
const MAX_NAME_BYTES = 31
const OURS = 'KUBE-SLUICE-'
const KUBE_PROXYS = 'KUBE-'

/**
 * The kernel's name of a set.
 * Source of the IPv6 names: kube-proxy pkg/proxy/ipvs/ipset.go (KUBE-6-, cut to the length).
 */
export function setName(name: string, family: IpFamily): string {
  if (family === 'IPv4') return name
  if (name.startsWith(OURS) || !name.startsWith(KUBE_PROXYS)) return `${name}-6`
  return `KUBE-6-${name.slice(KUBE_PROXYS.length)}`.slice(0, MAX_NAME_BYTES)
}

function temporaryName(name: string): string {
  return name.slice(0, MAX_NAME_BYTES - TEMPORARY_SUFFIX.length) + TEMPORARY_SUFFIX
}

/** Lines for `ipset restore` that bring sets to their content; '' when they have it. */
export function renderSets(sets: readonly IpSet[], before: KernelSets): string {
  return sets
    .flatMap((set) => {
      const name = setName(set.name, set.family)
      const entries = before.get(name)
      // Nothing refers to a set that is not there yet: no need to hide it while it is filled.
      if (entries === undefined) return creation(name, set)
      const isChangeable = entries !== 'unknown' && !isMuchChanged(set.entries, entries)
      return isChangeable ? changes(name, set.entries, entries) : replacement(name, set, before)
    })
    .join('')
}

/** How many entries each set of the kernel has, by name. Throws SluiceError ERR_TOOL. */
export async function countSetEntries(run: RunCommand): Promise<ReadonlyMap<string, number>> {
  const text = await runChecked(run, 'ipset', ['list', '-terse'])
  const counts = new Map<string, number>()
  let name = ''
  for (const line of text.split('\n')) {
    const [key, value = ''] = line.split(': ', 2)
    if (key === 'Name') name = value
    if (key === 'Number of entries') counts.set(name, Number(value))
  }
  return counts
}

/** The entries of those of the sets (kernel names) that exist, as ipset prints them. Throws ERR_TOOL. */
export async function readSetEntries(
  run: RunCommand,
  names: readonly string[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  const text = await runChecked(run, 'ipset', ['save'])
  const found = new Map<string, string[]>()
  for (const line of text.split('\n')) {
    const [verb, name = '', entry] = line.split(' ', 3)
    if (!names.includes(name)) continue
    if (verb === 'create') found.set(name, [])
    else if (verb === 'add' && entry !== undefined) found.get(name)?.push(entry)
  }
  return found
}

/**
 * Destroys those of the sets (kernel names) that exist, and the temporary ones of a process that
 * died; returns their names. Throws SluiceError ERR_TOOL, e.g. for one that a rule still uses.
 */
export async function destroySets(
  run: RunCommand,
  names: readonly string[],
): Promise<readonly string[]> {
  const existing = await countSetEntries(run)
  const doomed = names
    .flatMap((name) => [name, temporaryName(name)])
    .filter((name) => existing.has(name))
  if (doomed.length > 0) {
    const text = doomed.map((name) => `destroy ${name}\n`).join('')
    await runChecked(run, 'ipset', ['restore'], text)
  }
  return doomed
}

function creation(name: string, { type, family, entries, timeoutSeconds }: IpSet): string[] {
  const timeout = timeoutSeconds === undefined ? '' : ` timeout ${timeoutSeconds}`
  return [
    `create ${name} ${type} ${parameters(type, family, entries.length)}${timeout}\n`,
    ...entries.map((entry) => `add ${name} ${entry}\n`),
  ]
}

function parameters(type: IpSet['type'], family: IpFamily, entries: number): string {
  if (type === 'bitmap:port') return 'range 0-65535'
  const inet = family === 'IPv4' ? 'inet' : 'inet6'
  return `family ${inet} hashsize 1024 maxelem ${maxElements(entries)}`
}

function replacement(name: string, set: IpSet, before: KernelSets): string[] {
  const temporary = temporaryName(name)
  return [
    // Left by a process that died in between; it may have other parameters.
    ...(before.has(temporary) ? [`destroy ${temporary}\n`] : []),
    ...creation(temporary, set),
    `swap ${temporary} ${name}\n`,
    `destroy ${temporary}\n`,
  ]
}

/** Removals first: a set that is full has room then. */
function changes(
  name: string,
  entries: readonly string[],
  before: ReadonlySet<string>,
): readonly string[] {
  const wanted = new Set(entries)
  return [
    ...[...before].filter((entry) => !wanted.has(entry)).map((entry) => `del ${name} ${entry}\n`),
    ...entries.filter((entry) => !before.has(entry)).map((entry) => `add ${name} ${entry}\n`),
  ]
}

function isMuchChanged(entries: readonly string[], before: ReadonlySet<string>): boolean {
  const added = entries.filter((entry) => !before.has(entry)).length
  const removed = before.size - (entries.length - added)
  const count = added + removed
  const isLarge = count > MIN_REPLACE_CHANGES && count > before.size / 4
  return isLarge || maxElements(entries.length) > maxElements(before.size)
}

/** Room for twice the entries, in powers of two. */
function maxElements(entries: number): number {
  return Math.max(MIN_MAXELEM, 2 ** Math.ceil(Math.log2(Math.max(1, entries * 2))))
}
