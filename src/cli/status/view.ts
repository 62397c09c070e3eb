/** What of the status is shown, in which order, and what a key does to that. Pure. */
import type { OptionValues } from '../../config/options.js'
import type { ProxyStatus, ServicePortStatus } from '../../observe/status.js'
import type { Rates } from './rates.js'

export type SortKey = OptionValues['sort']

export interface View {
  readonly sort: SortKey
  readonly isReversed: boolean
  /** Only Services in whose row this text is; '' for all. */
  readonly filter: string
  /** Keys go to the filter. */
  readonly isTyping: boolean
  readonly namespace: string | undefined
  readonly showsEndpoints: boolean
  /** Only Services with an endpoint that is not up, or with none. */
  readonly onlyTrouble: boolean
  readonly isPaused: boolean
  readonly showsHelp: boolean
  /** Rows that have been scrolled over. */
  readonly offset: number
}

export const FIRST_VIEW: View = {
  sort: 'name',
  isReversed: false,
  filter: '',
  isTyping: false,
  namespace: undefined,
  showsEndpoints: true,
  onlyTrouble: false,
  isPaused: false,
  showsHelp: false,
  offset: 0,
}

/** The keys, as they are explained; docs/status.md has the same table. */
export const KEY_HELP: readonly (readonly [string, string])[] = [
  ['n s o r t f y', 'sort by name, state (trouble first), open, rate, total, failed, retries'],
  ['the same again', 'the other way round'],
  ['/', 'filter by name, address or balancer; Enter keeps it, Esc drops it'],
  ['p', 'only Services with a problem'],
  ['e', 'endpoints on or off'],
  ['arrows, j k, PgUp PgDn, Home End', 'scroll'],
  ['Space', 'stop and go on'],
  ['?', 'this help'],
  ['q, Ctrl-C', 'quit'],
]

const SORT_BY: Readonly<Record<string, SortKey>> = {
  n: 'name',
  s: 'state',
  o: 'open',
  r: 'rate',
  t: 'total',
  f: 'failed',
  y: 'retries',
}

/** Rows that a key scrolls by, in pages of `page` rows. */
const SCROLLS: Readonly<Record<string, (page: number) => number>> = {
  up: () => -1,
  k: () => -1,
  down: () => 1,
  j: () => 1,
  pageup: (page) => -page,
  pagedown: (page) => page,
  home: () => -Infinity,
  end: () => Infinity,
}

/** The view after a key; `quit` when it ends the command. */
export function pressed(view: View, key: string, page: number): View | 'quit' {
  if (key === 'ctrl-c') return 'quit'
  if (view.isTyping) return typed(view, key)
  if (key === 'q') return 'quit'
  const sort = SORT_BY[key]
  if (sort !== undefined) {
    return { ...view, sort, isReversed: sort === view.sort && !view.isReversed, offset: 0 }
  }
  const scroll = SCROLLS[key]
  if (scroll !== undefined) return { ...view, offset: Math.max(0, view.offset + scroll(page)) }
  switch (key) {
    case '/':
      return { ...view, isTyping: true, showsHelp: false, offset: 0 }
    case 'escape':
      return { ...view, filter: '', showsHelp: false, offset: 0 }
    case 'p':
      return { ...view, onlyTrouble: !view.onlyTrouble, offset: 0 }
    case 'e':
      return { ...view, showsEndpoints: !view.showsEndpoints, offset: 0 }
    case ' ':
      return { ...view, isPaused: !view.isPaused }
    case '?':
      return { ...view, showsHelp: !view.showsHelp }
    default:
      return view
  }
}

function typed(view: View, key: string): View {
  if (key === 'enter') return { ...view, isTyping: false }
  if (key === 'escape') return { ...view, isTyping: false, filter: '', offset: 0 }
  if (key === 'backspace') return { ...view, filter: view.filter.slice(0, -1), offset: 0 }
  return key.length === 1 ? { ...view, filter: view.filter + key, offset: 0 } : view
}

/** The Services that the view shows, in its order. */
export function arranged(
  { services }: Pick<ProxyStatus, 'services'>,
  view: Pick<View, 'sort' | 'isReversed' | 'filter' | 'namespace' | 'onlyTrouble'>,
  rates?: Rates,
): readonly ServicePortStatus[] {
  const { sort, isReversed, filter, namespace, onlyTrouble } = view
  const wanted = filter.toLowerCase()
  const shown = services.filter(
    (service) =>
      (namespace === undefined || service.name.startsWith(`${namespace}/`)) &&
      (wanted === '' || textOf(service).includes(wanted)) &&
      (!onlyTrouble || troubleOf(service) > 0),
  )
  const weight = weightOf(sort, rates)
  const sorted =
    weight === undefined
      ? shown // In order of names already.
      : shown
          .map((service) => ({ service, weight: weight(service) }))
          .sort((one, other) => other.weight - one.weight)
          .map(({ service }) => service)
  return isReversed ? sorted.toReversed() : sorted
}

function weightOf(sort: SortKey, rates: Rates | undefined) {
  switch (sort) {
    case 'name':
      return undefined
    case 'state':
      return troubleOf
    case 'open':
      return (service: ServicePortStatus) => service.activeConnections
    case 'rate':
      return (service: ServicePortStatus) => rates?.of(service) ?? service.totalConnections
    case 'total':
      return (service: ServicePortStatus) => service.totalConnections
    case 'failed':
      return (service: ServicePortStatus) => service.failedConnections
    case 'retries':
      return (service: ServicePortStatus) => service.retries
  }
}

/** 0: every endpoint is up; above 1: none takes connections. */
export function troubleOf({ endpoints }: ServicePortStatus): number {
  let inUse = 0
  let bad = 0
  for (const { inUse: isInUse, state } of endpoints) {
    if (isInUse) inUse++
    if (state !== 'up' && state !== 'unused') bad++
  }
  const share = endpoints.length === 0 ? 1 : bad / endpoints.length
  return inUse === 0 ? 2 + share : share
}

function textOf({ name, protocol, vips, balancer, endpoints }: ServicePortStatus): string {
  return [
    ...[name, protocol, balancer],
    ...vips.map(({ address }) => address),
    ...endpoints.map(({ address, pod, state }) => `${address} ${pod ?? ''} ${state}`),
  ]
    .join(' ')
    .toLowerCase()
}
