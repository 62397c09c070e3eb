/** The head of the page: figures, their last 15 minutes, and how near the mode is to a change. */
import { Chart } from './chart.js'
import { count, duration, micros, rate } from './format.js'
import type { Gauge, Point, Summary } from './wire.js'

interface Card {
  readonly element: HTMLElement
  readonly value: HTMLElement
  readonly note: HTMLElement
  readonly chart: Chart
}

export class SummaryView {
  #points: Point[] = []
  #slots = 180
  readonly #root: HTMLElement
  #cards: Readonly<Record<'open' | 'rate' | 'trouble' | 'verdict', Card>> | undefined

  constructor(root: HTMLElement) {
    this.#root = root
  }

  /** Begins anew. */
  clear(slots: number): void {
    this.#slots = slots
    this.#points = []
    this.#cards = {
      open: card('Open connections', slots),
      rate: card('New connections', slots),
      trouble: card('Failed and retried', slots, 2),
      verdict: card('Verdict latency', slots, 2),
    }
    this.#root.replaceChildren(...Object.values(this.#cards).map(({ element }) => element))
  }

  add(points: readonly Point[]): void {
    this.#points = [...this.#points, ...points].slice(-this.#slots)
  }

  draw(summary: Summary): void {
    if (this.#cards === undefined) return
    const { open, rate: fresh, trouble, verdict } = this.#cards
    const points = this.#points
    const last = points.at(-1)
    const of = <K extends keyof Point>(key: K): Point[K][] => points.map((point) => point[key])
    const knows = summary.countsConnections
    show(
      open,
      knows ? count(summary.open) : '–',
      knows ? `${count(summary.total)} in all` : 'the kernel keeps them',
    )
    open.chart.draw([of('open')])
    show(
      fresh,
      knows ? rate(last?.rate ?? 0) : '–',
      knows
        ? `per second, at most ${rate(Math.max(0, ...of('rate')))}`
        : 'not counted in this mode',
    )
    fresh.chart.draw([of('rate')])
    show(
      trouble,
      knows ? count(summary.failed) : '–',
      knows ? `failed; ${count(summary.retries)} retried elsewhere` : 'not counted in this mode',
    )
    trouble.chart.draw([of('failed'), of('retries')])
    trouble.element.classList.toggle('bad', (last?.failed ?? 0) > 0)
    verdict.element.hidden = summary.queues === 0
    const median = points.findLast(({ p50 }) => p50 !== null)
    show(
      verdict,
      micros(median?.p50 ?? null),
      `p99 ${micros(median?.p99 ?? null)}; ${count(summary.waiting)} waiting, ${count(summary.queueDropped)} dropped`,
    )
    verdict.chart.draw([of('p50'), of('p99')])
  }
}

function show({ element, value, note }: Card, text: string, says: string): void {
  value.textContent = text
  note.textContent = says
  element.setAttribute('aria-label', `${element.dataset['title'] ?? ''}: ${text}, ${says}`)
}

function card(title: string, slots: number, lines = 1): Card {
  const element = document.createElement('section')
  element.className = 'card'
  element.dataset['title'] = title
  const head = document.createElement('h2')
  head.textContent = title
  const value = document.createElement('p')
  value.className = 'figure'
  const note = document.createElement('p')
  note.className = 'note'
  const chart = new Chart(slots, lines)
  element.append(head, value, note, chart.element)
  return { element, value, note, chart }
}

/** The line of facts below the title. */
export function drawFacts(root: HTMLElement, node: string, summary: Summary): void {
  const {
    mode,
    modeDetail,
    uptimeSeconds,
    servicePorts,
    endpoints,
    inUse,
    down,
    ejected,
    leftOut,
  } = summary
  const facts: [string, string, string?][] = [
    ['node', node],
    ['mode', modeDetail === '' ? mode : `${mode} (${modeDetail})`],
    [
      'Service ports',
      leftOut === 0 ? count(servicePorts) : `${count(servicePorts)}, ${count(leftOut)} not shown`,
    ],
    ['endpoints', `${count(inUse)} of ${count(endpoints)} in use`],
    ['down', count(down), down > 0 ? 'bad' : ''],
    ['ejected', count(ejected), ejected > 0 ? 'bad' : ''],
    ['up', duration(uptimeSeconds)],
  ]
  const key = JSON.stringify(facts)
  if (root.dataset['key'] === key) return
  root.dataset['key'] = key
  root.replaceChildren(
    ...facts.map(([name, value, kind = '']) => {
      const fact = document.createElement('div')
      const term = document.createElement('dt')
      term.textContent = name
      const text = document.createElement('dd')
      text.textContent = value
      text.className = kind
      fact.append(term, text)
      return fact
    }),
  )
}

/** How near something is to where the mode changes by itself. */
export function drawGauges(root: HTMLElement, gauges: readonly Gauge[]): void {
  root.hidden = gauges.length === 0
  while (root.children.length > gauges.length) root.lastElementChild?.remove()
  for (const [index, { name, value, limit }] of gauges.entries()) {
    const known = root.children[index]
    const gauge = known ?? root.appendChild(document.createElement('label'))
    if (known === undefined)
      gauge.append(document.createElement('span'), document.createElement('meter'))
    const meter = gauge.querySelector('meter')
    const text = gauge.querySelector('span')
    if (meter === null || text === null) continue
    text.textContent = `${name}: ${value === null ? 'unknown' : rate(value)} of ${count(limit)}`
    meter.max = limit
    meter.high = limit * 0.8
    meter.value = value ?? 0
  }
}
