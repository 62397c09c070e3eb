/** What the page knows of Service ports, and which of them it lists in what order. No document here. */
import type { CountRow, StaticRow, Tick } from './wire.js'

export interface Row {
  readonly id: number
  name: string
  protocol: string
  vips: string
  balancer: string
  endpoints: number
  inUse: number
  down: number
  ejected: number
  open: number
  rate: number
  total: number
  failed: number
  retries: number
  /** What the filter looks into. */
  text: string
}

export const SORT_KEYS = [
  'name',
  'balancer',
  'inUse',
  'open',
  'rate',
  'failed',
  'retries',
  'total',
] as const
export type SortKey = (typeof SORT_KEYS)[number]

export class Store {
  readonly rows = new Map<number, Row>()
  filter = ''
  onlyProblems = false
  sortKey: SortKey = 'name'
  isDescending = false
  #view: Row[] | undefined

  /** Everything that was known is void. */
  clear(): void {
    this.rows.clear()
    this.#view = undefined
  }

  apply({ rows = [], counts = [], gone = [] }: Pick<Tick, 'rows' | 'counts' | 'gone'>): void {
    for (const id of gone) this.rows.delete(id)
    for (const row of rows) this.#setFixed(row)
    for (const row of counts) this.#setCounts(row)
    const isOther = gone.length > 0 || rows.length > 0
    if (isOther || (counts.length > 0 && (this.sortKey !== 'name' || this.onlyProblems)))
      this.stale()
  }

  /** The filter or the order has changed. */
  stale(): void {
    this.#view = undefined
  }

  /** The rows that are listed, in order. */
  get view(): readonly Row[] {
    return (this.#view ??= this.#sorted())
  }

  get problems(): number {
    let problems = 0
    for (const row of this.rows.values()) if (hasProblem(row)) problems++
    return problems
  }

  #setFixed([
    id,
    name,
    protocol,
    vips,
    balancer,
    endpoints,
    inUse,
    down,
    ejected,
  ]: StaticRow): void {
    const text = `${name} ${protocol} ${vips} ${balancer}`.toLowerCase()
    const fixed = { name, protocol, vips, balancer, endpoints, inUse, down, ejected, text }
    const known = this.rows.get(id)
    if (known !== undefined) Object.assign(known, fixed)
    else this.rows.set(id, { id, ...fixed, open: 0, rate: 0, total: 0, failed: 0, retries: 0 })
  }

  #setCounts([id, open, rate, total, failed, retries]: CountRow): void {
    const row = this.rows.get(id)
    if (row !== undefined) Object.assign(row, { open, rate, total, failed, retries })
  }

  #sorted(): Row[] {
    const words = this.filter.toLowerCase().split(/\s+/).filter(Boolean)
    const rows: Row[] = []
    for (const row of this.rows.values()) {
      if (this.onlyProblems && !hasProblem(row)) continue
      if (words.every((word) => row.text.includes(word))) rows.push(row)
    }
    const key = this.sortKey
    const sign = this.isDescending ? -1 : 1
    return rows.sort(
      (a, b) => sign * compare(a[key], b[key]) || compare(a.name, b.name) || a.id - b.id,
    )
  }
}

/** An endpoint that is out of use against its will, or none in use. */
export function hasProblem({ down, ejected, inUse, endpoints }: Row): boolean {
  return down > 0 || ejected > 0 || (endpoints > 0 && inUse === 0)
}

function compare(a: string | number, b: string | number): number {
  return a < b ? -1 : a > b ? 1 : 0
}
