/**
 * The endpoints of slots as iptables rules, for kernels whose nf_tables cannot translate addresses:
 *
 *   KUBE-SLUICE-ENDPOINTS    by the upper bits of the slot -> KUBE-SLUICE-EP-n
 *   KUBE-SLUICE-EP-n         by the whole slot             -> DNAT
 *
 * Rules are tried one after the other, so a new connection costs up to PAGES + PAGE_SLOTS of them,
 * and the legacy tools copy the whole table for each change. Hence the limit of PAGES * PAGE_SLOTS
 * slots; endpoints beyond are served by the standby's rules.
 */
import { formatAddress, splitAddress } from '../../lib/ip-address.js'
import { type RunCommand, runChecked } from '../../kernel/command.js'
import { comment, listRules, restoreRules } from '../../kernel/iptables.js'
import type { MarkLayout } from '../../packet/mark-layout.js'
import { slotOf } from '../../packet/mark-layout.js'
import type { AdoptedElement, EndpointMap } from './endpoint-map.js'
import type { SlotElement } from './slot-table.js'
import { ENDPOINTS_CHAIN } from './steering-rules.js'

const PAGE_BITS = 6
const PAGE_SLOTS = 2 ** PAGE_BITS
const PAGES = 64
const PAGE_PREFIX = 'KUBE-SLUICE-EP-'

/** Slots from 1 to this one. */
export const MAX_IPTABLES_SLOT = PAGES * PAGE_SLOTS - 1

type Page = Map<number, SlotElement>

export class IptablesEndpointMap implements EndpointMap {
  readonly capacity: number
  readonly #run: RunCommand
  readonly #tool: string
  readonly #layout: MarkLayout
  readonly #pages = new Map<number, Page>()
  /** Pages that have a chain in the kernel; undefined when nobody knows what is there. */
  #loaded: Set<number> | undefined

  /** `tool` as iptablesTool() names it. */
  constructor(run: RunCommand, tool: string, layout: MarkLayout) {
    this.#run = run
    this.#tool = tool
    this.#layout = layout
    this.capacity = Math.min(layout.maxSlot, MAX_IPTABLES_SLOT)
  }

  async read(): Promise<readonly AdoptedElement[]> {
    const elements: AdoptedElement[] = []
    const { rules } = await this.#list()
    for (const rule of rules) {
      const element = this.#parse(rule)
      if (element === undefined) continue
      elements.push(element)
      this.#pageOf(element.slot).set(element.slot, element)
    }
    return elements
  }

  async add(elements: readonly SlotElement[]): Promise<void> {
    for (const element of elements) this.#pageOf(element.slot).set(element.slot, element)
    await this.#load(new Set(elements.map(({ slot }) => slot >> PAGE_BITS)))
  }

  async fill(elements: readonly SlotElement[]): Promise<void> {
    this.#pages.clear()
    this.#loaded = undefined
    await this.add(elements)
  }

  async remove(slots: readonly number[]): Promise<void> {
    for (const slot of slots) this.#pages.get(slot >> PAGE_BITS)?.delete(slot)
    await this.#load(new Set(slots.map((slot) => slot >> PAGE_BITS)))
  }

  /** The number of pages stands for the rules: nobody edits them one for one. */
  async isIntact(): Promise<boolean> {
    const chain = { table: 'nat', name: ENDPOINTS_CHAIN } as const
    const rules = await listRules(this.#run, this.#tool, chain)
    return rules?.length === this.#loaded?.size
  }

  /** Brings the chains of these pages up to date, or all when it is not known what the kernel has. */
  async #load(pages: ReadonlySet<number>): Promise<void> {
    const isFirst = this.#loaded === undefined
    if (!isFirst && pages.size === 0) return
    const before = this.#loaded ?? (await this.#list()).pages
    const changed = isFirst ? new Set([...before, ...this.#pages.keys()]) : pages
    const gone = [...changed].filter((page) => (this.#pages.get(page)?.size ?? 0) === 0)
    for (const page of gone) this.#pages.delete(page)
    const text = this.#text(
      [...changed].filter((page) => this.#pages.has(page)),
      gone.filter((page) => before.has(page)),
      isFirst || [...changed].some((page) => before.has(page) !== this.#pages.has(page)),
    )
    this.#loaded = undefined
    await restoreRules(this.#run, this.#tool, text)
    this.#loaded = new Set(this.#pages.keys())
  }

  #text(filled: readonly number[], gone: readonly number[], hasNewPages: boolean): string {
    const dispatch = [...this.#pages.keys()].sort((a, b) => a - b)
    const lines = [
      '*nat',
      ...(hasNewPages ? [`:${ENDPOINTS_CHAIN} - [0:0]`] : []),
      ...[...filled, ...gone].map((page) => `:${PAGE_PREFIX}${page} - [0:0]`),
      ...(hasNewPages ? dispatch.map((page) => this.#dispatchRule(page)) : []),
      ...filled.flatMap((page) => this.#pageRules(page)),
      ...gone.map((page) => `-X ${PAGE_PREFIX}${page}`),
      'COMMIT',
    ]
    return lines.map((line) => `${line}\n`).join('')
  }

  #dispatchRule(page: number): string {
    const { slotMask, slotShift } = this.#layout
    const unit = 2 ** slotShift
    const mask = slotMask - (PAGE_SLOTS - 1) * unit
    const mark = page * PAGE_SLOTS * unit
    return `-A ${ENDPOINTS_CHAIN} -m connmark --mark ${hex(mark)}/${hex(mask)} -j ${PAGE_PREFIX}${page}`
  }

  #pageRules(page: number): string[] {
    const { slotMask, slotShift } = this.#layout
    const elements = [...(this.#pages.get(page)?.values() ?? [])]
    return elements.map(({ slot, ip, port, comment: note }) => {
      const mark = `${hex(slot * 2 ** slotShift)}/${hex(slotMask)}`
      // iptables takes a port to translate to only for a protocol that has ports.
      return (
        `-A ${PAGE_PREFIX}${page} -p ${protocolOf(note)} -m connmark --mark ${mark}` +
        ` ${comment(note)} -j DNAT --to-destination ${formatAddress(ip, port)}`
      )
    })
  }

  /** Rules and pages of an earlier process. */
  async #list(): Promise<{ rules: readonly string[]; pages: Set<number> }> {
    const text = await runChecked(this.#run, `${this.#tool}-save`, ['-t', 'nat'])
    const lines = text.split('\n')
    const pages = lines.flatMap((line) => {
      const page = /^:KUBE-SLUICE-EP-(\d+) /.exec(line)?.[1]
      return page === undefined ? [] : [Number(page)]
    })
    const rules = lines.filter((line) => line.startsWith(`-A ${PAGE_PREFIX}`))
    return { rules, pages: new Set(pages) }
  }

  /** Undefined for a rule that this layout of the mark does not make. */
  #parse(rule: string): AdoptedElement | undefined {
    const mark = /--mark (0x[0-9a-f]+)\/(0x[0-9a-f]+)/.exec(rule)
    const note = /--comment "?([^" ]+)"?/.exec(rule)?.[1]
    const id = /--to-destination (\S+)/.exec(rule)?.[1]
    if (mark === null || note === undefined || id === undefined) return undefined
    if (Number(mark[2]) !== this.#layout.slotMask) return undefined
    const slot = slotOf(this.#layout, Number(mark[1]))
    return slot > this.capacity ? undefined : { slot, ...splitAddress(id), comment: note, id }
  }

  #pageOf(slot: number): Page {
    const number = slot >> PAGE_BITS
    const page = this.#pages.get(number) ?? new Map<number, SlotElement>()
    this.#pages.set(number, page)
    return page
  }
}

/** Takes away all that any such map has left; returns `TABLE/CHAIN` of each. Throws SluiceError ERR_TOOL. */
export async function removeEndpointChains(
  run: RunCommand,
  tool: string,
): Promise<readonly string[]> {
  const { status, stdout } = await run(`${tool}-save`, [])
  if (status !== 0) return []
  const chains = [...stdout.matchAll(/^:(KUBE-SLUICE-(?:ENDPOINTS|EP-\d+)) /gm)].map(
    ([, name = '']) => name,
  )
  if (chains.length === 0) return []
  const lines = [
    '*nat',
    ...chains.map((name) => `-F ${name}`),
    ...chains.map((name) => `-X ${name}`),
    'COMMIT',
  ]
  await restoreRules(run, tool, lines.map((line) => `${line}\n`).join(''))
  return chains.map((name) => `nat/${name}`)
}

/** tcp, udp or sctp; every comment ends `/PROTOCOL/FAMILY`. */
function protocolOf(note: string): string {
  return note.split('/').at(-2)?.toLowerCase() ?? 'tcp'
}

function hex(value: number): string {
  return `0x${value.toString(16)}`
}
