/**
 * What this node's kernel and tools can do, found out by doing it: each script of probe-script.ts
 * in a network namespace of its own (`unshare --net`), or on the node where the process may make no
 * namespace (a container without CAP_SYS_ADMIN); sockets by opening them unbound. Nothing of the node
 * is changed; the kernel may load modules on demand, as it would later.
 */
import { createRequire } from 'node:module'

import { messageOf } from '../lib/errors.js'
import { compileSourceFilter } from '../packet/source-filter.js'
import { firstLine, installCommand, type RunCommand } from './command.js'
import type { IptablesVariant } from './iptables.js'
import { type ProbePlace, type ProbeScript, probeScripts, variantScript } from './probe-script.js'
import { closeSocket, openSocket } from './socket.js'

export type CapabilityName =
  | keyof ReturnType<typeof probeScripts>
  | 'transparent sockets'
  | 'socket source filter'
  | 'raw sockets'

export interface Capability {
  readonly name: CapabilityName
  readonly usable: boolean
  /** Why not, in the words of the kernel or the tool. */
  readonly reason?: string
  /** What to type or do. */
  readonly fix?: string
}

export interface KernelCapabilities {
  readonly capabilities: readonly Capability[]
  /** The iptables that works here: the plain one unless only another does. */
  readonly iptablesVariant: IptablesVariant
}

const ADDON_FIX = 'node native/build.mjs'

/** Scripts under way at once; they mostly wait for the kernel to make namespaces. */
const CONCURRENCY = 4

/**
 * Tries everything, or, given names, what can be found out by those alone. Takes up to a second; throws
 * nothing, what fails is a result.
 */
export async function probeCapabilities(
  run: RunCommand,
  names?: ReadonlySet<CapabilityName>,
): Promise<KernelCapabilities> {
  const place = await findPlace(run)
  const iptablesVariant = await findVariant(run, place)
  const all = Object.entries(probeScripts(iptablesVariant, place)) as [
    CapabilityName,
    ProbeScript,
  ][]
  const scripts = names === undefined ? all : all.filter(([name]) => names.has(name))
  const capabilities = new Array<Capability>(scripts.length)
  const rest = scripts.entries()
  const work = async (): Promise<void> => {
    for (const [index, [name, script]] of rest) {
      capabilities[index] = await probeScript(run, name, { ...script, place })
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, work))
  return { capabilities: [...capabilities, ...probeSockets()], iptablesVariant }
}

/** The capability of that name. */
export function capabilityOf(
  { capabilities }: KernelCapabilities,
  name: CapabilityName,
): Capability {
  const unknown = { name, usable: false, reason: 'it was not probed' }
  return capabilities.find((capability) => capability.name === name) ?? unknown
}

/** A namespace that cannot be made for want of rights is one thing; no unshare(1) is for the user to mend. */
async function findPlace(run: RunCommand): Promise<ProbePlace> {
  const reason = await tryScript(run, 'true', 'scratch')
  return reason !== undefined && isDenied(reason) ? 'node' : 'scratch'
}

async function findVariant(run: RunCommand, place: ProbePlace): Promise<IptablesVariant> {
  for (const variant of ['', '-legacy', '-nft'] as const) {
    const reason = await tryScript(run, variantScript(variant, place), place)
    if (reason === undefined) return variant
  }
  // None works: the messages are to be those of the one that people know.
  return ''
}

async function probeScript(
  run: RunCommand,
  name: CapabilityName,
  { script, fix, place }: ProbeScript & { readonly place: ProbePlace },
): Promise<Capability> {
  const reason = await tryScript(run, script, place)
  if (reason === undefined) return { name, usable: true }
  const missing = /: ([\w-]+): not found$/.exec(reason)?.[1]
  if (missing !== undefined) {
    const text = `${missing} is not installed`
    return { name, usable: false, reason: text, fix: installCommand(missing) }
  }
  return unusable(name, reason, fix)
}

function unusable(name: CapabilityName, reason: string, fix: string): Capability {
  return {
    name,
    usable: false,
    reason,
    fix: isDenied(reason) ? 'run as root (CAP_NET_ADMIN)' : fix,
  }
}

function isDenied(reason: string): boolean {
  return /Operation not permitted|Permission denied/i.test(reason)
}

/** Why the script failed, or undefined. */
async function tryScript(
  run: RunCommand,
  script: string,
  place: ProbePlace,
): Promise<string | undefined> {
  const [tool, ...args] = place === 'scratch' ? ['unshare', '--net', 'sh', '-e'] : ['sh', '-e']
  try {
    const { status, stderr } = await run(tool, args, script)
    return status === 0 ? undefined : (firstLine(stderr) ?? `exit ${status}`)
  } catch (error) {
    return messageOf(error)
  }
}

function probeSockets(): readonly Capability[] {
  const filter = compileSourceFilter([], 'IPv4') ?? new Uint8Array()
  return [
    attempt('transparent sockets', ADDON_FIX, () => {
      closeSocket(openSocket({ type: 'tcp', family: 'IPv4', transparent: true }))
    }),
    attempt('socket source filter', ADDON_FIX, () => {
      closeSocket(openSocket({ type: 'tcp', family: 'IPv4', filter }))
    }),
    attempt('raw sockets', 'npm install raw-socket', () => {
      openRawSocket()
    }),
  ]
}

function attempt(name: CapabilityName, fix: string, work: () => void): Capability {
  try {
    work()
    return { name, usable: true }
  } catch (error) {
    return unusable(name, firstLine(messageOf(error)) ?? 'no reason given', fix)
  }
}

/** The part of the optional package raw-socket that is used here. */
interface RawSocketPackage {
  readonly Protocol: { readonly ICMP: number }
  createSocket(options: { protocol: number }): { close(): void }
}

function openRawSocket(): void {
  // Optional: where it could not be compiled the package is not there.
  const raw = createRequire(import.meta.url)('raw-socket') as RawSocketPackage
  raw.createSocket({ protocol: raw.Protocol.ICMP }).close()
}
