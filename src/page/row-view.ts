/** The lines of the list that can be seen, as elements that are used again and again. */
import { svg } from './chart.js'
import { count, duration, rate } from './format.js'
import { linePath } from './line-path.js'
import type { Item, Opened } from './row-list.js'
import { hasProblem } from './store.js'

const SPARK = { width: 90, height: 22, slots: 30 }
const CELLS = [
  'name',
  'vip',
  'balancer',
  'health',
  'open',
  'rate',
  'failed',
  'retries',
  'total',
  'spark',
] as const
/** What a cell means where the head of the table is not shown. */
const LABELS: Readonly<Record<string, string>> = {
  open: 'open',
  rate: 'new/s',
  failed: 'failed',
  retries: 'retried',
  total: 'in all',
}

export interface LineState {
  readonly index: number
  readonly isActive: boolean
  readonly opened: Opened | undefined
  readonly rates: readonly number[]
  readonly countsConnections: boolean
}

export class LineView {
  readonly element = document.createElement('div')
  readonly #cells = {} as Record<(typeof CELLS)[number], HTMLElement>
  readonly #bar = document.createElement('i')
  readonly #barText = document.createElement('span')
  readonly #spark = svg('path', { class: 'line line-0' })
  #index = -1

  constructor(id: number) {
    this.element.id = `line-${id}`
    this.element.setAttribute('role', 'row')
    for (const name of CELLS) {
      const cell = document.createElement('span')
      cell.className = name
      cell.setAttribute('role', 'gridcell')
      const label = LABELS[name]
      if (label !== undefined) cell.dataset['label'] = label
      this.#cells[name] = cell
      this.element.append(cell)
    }
    this.#bar.className = 'bar'
    this.#cells.health.append(this.#bar, this.#barText)
    const { width, height } = SPARK
    const chart = svg('svg', {
      viewBox: `0 0 ${width} ${height}`,
      'aria-hidden': 'true',
      class: 'chart',
    })
    chart.append(this.#spark)
    this.#cells.spark.append(chart)
  }

  get index(): number {
    return this.#index
  }

  draw(item: Item, state: LineState, lineHeight: number): void {
    const { element } = this
    this.#index = state.index
    element.hidden = false
    element.style.transform = `translateY(${state.index * lineHeight}px)`
    element.setAttribute('aria-rowindex', String(state.index + 2))
    element.setAttribute('aria-selected', String(state.isActive))
    if (item.endpoint === undefined) this.#drawPort(item, state)
    else this.#drawEndpoint(item, state, item.endpoint)
  }

  hide(): void {
    this.#index = -1
    this.element.hidden = true
  }

  #drawPort({ row }: Item, { opened, rates, countsConnections }: LineState): void {
    this.element.className = `line port${hasProblem(row) ? ' problem' : ''}${opened === undefined ? '' : ' is-open'}`
    this.element.setAttribute('aria-level', '1')
    this.element.setAttribute('aria-expanded', String(opened !== undefined))
    const [first = '', ...others] = row.vips.split(' ')
    this.#say('name', row.name, row.protocol)
    this.#cells.name.title = `${row.name} ${row.protocol}`
    this.#say('vip', others.length === 0 ? first : `${first} +${others.length}`)
    this.#cells.vip.title = row.vips
    this.#say('balancer', row.balancer)
    this.#health(row)
    const number = (value: number, text = count(value)): string => (countsConnections ? text : '–')
    this.#say('open', number(row.open))
    this.#say('rate', number(row.rate, rate(row.rate)))
    this.#say('failed', number(row.failed))
    this.#say('retries', number(row.retries))
    this.#say('total', number(row.total))
    this.#cells.failed.classList.toggle('bad', row.failed > 0)
    const max = Math.max(0, ...rates)
    this.#spark.setAttribute('d', max === 0 ? '' : linePath(rates, { ...SPARK, max }))
  }

  #health({ endpoints, inUse, down, ejected }: Item['row']): void {
    const share = endpoints === 0 ? 0 : inUse / endpoints
    this.#bar.style.setProperty('--share', `${Math.round(share * 100)}%`)
    const troubles = [down > 0 ? `${down} down` : '', ejected > 0 ? `${ejected} ejected` : '']
    const text = [`${inUse}/${endpoints}`, ...troubles.filter(Boolean)].join(' · ')
    if (this.#barText.textContent !== text) this.#barText.textContent = text
    this.#bar.hidden = false
    this.#cells.health.title = `${inUse} of ${endpoints} endpoints get new connections`
  }

  #drawEndpoint(_item: Item, { opened, countsConnections }: LineState, index: number): void {
    const { element } = this
    element.setAttribute('aria-level', '2')
    element.removeAttribute('aria-expanded')
    this.#bar.hidden = true
    this.#spark.setAttribute('d', '')
    this.#cells.failed.classList.remove('bad')
    const endpoint = opened?.endpoints[index]
    if (endpoint === undefined) {
      element.className = 'line endpoint'
      for (const name of CELLS) if (name !== 'spark' && name !== 'health') this.#say(name, '')
      this.#say('name', '…')
      this.#barText.textContent = ''
      return
    }
    const { address, pod, node, zone, state, reason, since, weight, open, total, failures } =
      endpoint
    const isBad = state === 'down' || state === 'ejected'
    element.className = `line endpoint${isBad ? ' problem' : ''}${state === 'up' ? '' : ' is-off'}`
    this.#say('name', address, pod)
    this.#cells.name.title = `${address} ${pod}`
    const place = [node, zone].filter(Boolean).join(' ')
    // What is wrong is worth more room than the weight: the style sheet gives it both cells.
    const trouble = reason === '' ? 'connects fail' : reason
    this.#say('vip', isBad ? `${trouble}${place === '' ? '' : `, ${place}`}` : place)
    this.#cells.vip.title = isBad ? trouble : ''
    this.#say('balancer', `weight ${weight}`)
    const age = since === '' ? '' : ` ${duration((Date.now() - Date.parse(since)) / 1000)}`
    this.#barText.textContent = `${state}${age}`
    this.#cells.health.title = reason
    const number = (value: number): string => (countsConnections ? count(value) : '–')
    this.#say('open', number(open))
    this.#say('rate', '')
    this.#say('failed', number(failures))
    this.#say('retries', '')
    this.#say('total', number(total))
    this.#cells.failed.classList.toggle('bad', failures > 0)
  }

  #say(name: (typeof CELLS)[number], text: string, aside = ''): void {
    const cell = this.#cells[name]
    const key = `${text} ${aside}`
    if (cell.dataset['key'] === key) return
    cell.dataset['key'] = key
    cell.textContent = text
    if (aside === '') return
    const small = document.createElement('small')
    small.textContent = aside
    cell.append(small)
  }
}
