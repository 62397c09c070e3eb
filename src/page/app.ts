/** Puts the page together. */
import { Feed } from './feed.js'
import { count } from './format.js'
import { SORT_KEYS, type SortKey, Store } from './store.js'
import { Stream, type StreamState } from './stream.js'
import { drawFacts, drawGauges, SummaryView } from './summary-view.js'
import { Table } from './table.js'
import { setUpTheme } from './theme.js'
import type { Tick } from './wire.js'

const REFRESH_MS = 2000

const STATES: Readonly<Record<StreamState, string>> = {
  live: 'live',
  connecting: 'connecting',
  lost: 'no answer',
  paused: 'paused',
}

function element(id: string): HTMLElement {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has no #${id}`)
  return found
}

const store = new Store()
const table = new Table(element('grid'), element('lines'), store)
const summary = new SummaryView(element('cards'))
const feed = new Feed(element('feed'))
const filter = element('filter') as HTMLInputElement
const problems = element('problems') as HTMLInputElement
let node = ''

function onTick(tick: Tick): void {
  store.apply(tick)
  summary.add(tick.points ?? [])
  feed.add(tick.feed ?? [])
  table.countsConnections = tick.summary.countsConnections
  drawFacts(element('facts'), node, tick.summary)
  drawGauges(element('gauges'), tick.summary.gauges)
  const problem = element('problem')
  problem.hidden = tick.summary.problem === null
  problem.textContent = tick.summary.problem
  summary.draw(tick.summary)
  drawTable()
}

function drawTable(): void {
  table.draw()
  const shown = store.view.length
  const all = store.rows.size
  element('shown').textContent =
    shown === all ? `${count(all)} Service ports` : `${count(shown)} of ${count(all)}`
  element('problem-count').textContent = count(store.problems)
  element('empty').hidden = shown > 0
}

function refilter(): void {
  store.filter = filter.value
  store.onlyProblems = problems.checked
  store.stale()
  drawTable()
  table.toTop()
  void table.refresh()
}

function setUpSorting(): void {
  const buttons = [...document.querySelectorAll<HTMLButtonElement>('button[data-sort]')]
  const show = (): void => {
    for (const button of buttons) {
      const isChosen = button.dataset['sort'] === store.sortKey
      const order = store.isDescending ? 'descending' : 'ascending'
      button.parentElement?.setAttribute('aria-sort', isChosen ? order : 'none')
    }
  }
  for (const button of buttons) {
    const key = SORT_KEYS.find((one) => one === button.dataset['sort']) as SortKey
    button.addEventListener('click', () => {
      const isText = key === 'name' || key === 'balancer'
      store.isDescending = store.sortKey === key ? !store.isDescending : !isText
      store.sortKey = key
      store.stale()
      show()
      drawTable()
      table.toTop()
    })
  }
  show()
}

function setUpKeys(): void {
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const isTyping = event.target === filter
    if (event.key === 'Escape' && isTyping) {
      filter.value = ''
      refilter()
      element('grid').focus({ preventScroll: true })
    } else if ((event.key === 'ArrowDown' || event.key === 'Enter') && isTyping) {
      element('grid').focus({ preventScroll: true })
    } else if (event.key === '/' && !isTyping) {
      filter.focus()
      filter.select()
    } else if (event.key === 't' && !isTyping) {
      element('theme').click()
    } else return
    event.preventDefault()
  })
}

setUpTheme(element('theme') as HTMLButtonElement)
setUpSorting()
setUpKeys()
filter.addEventListener('input', refilter)
problems.addEventListener('change', refilter)
setInterval(() => {
  if (!document.hidden) void table.refresh()
}, REFRESH_MS)
new Stream({
  onHello: ({ node: name, version, points }) => {
    node = name
    document.title = `${name} · kube-sluice`
    element('version').textContent = version
    store.clear()
    table.clear()
    feed.clear()
    summary.clear(points)
  },
  onTick: (tick) => {
    const isFirst = store.rows.size === 0
    onTick(tick)
    if (isFirst) void table.refresh()
  },
  onState: (state) => {
    element('state').className = state
    element('state').textContent = STATES[state]
  },
}).open()
