import { medianRatio, summarize } from '../../lib/statistics.mjs'
import { textTable } from '../../lib/text-table.mjs'
import { METRICS } from './measure.mjs'

/** @typedef {import('./measure.mjs').MetricName} MetricName */

/** By contender, by metric: one value a round, undefined where there is none. */
/** @typedef {Map<string, Map<MetricName, (number | undefined)[]>>} Results */

/** Each row is compared with these. */
const PEERS = ['haproxy', 'nginx']
const NONE = '-'

/**
 * The table: a block a metric, a row a contender.
 *
 * @param {Results} results
 * @returns {string}
 */
export function reportTable(results) {
  const heading = ['contender', 'median', 'min', 'max', ...PEERS.map((peer) => `x ${peer}`)]
  const rows = [heading]
  for (const [metric, { title, digits }] of metrics()) {
    rows.push([], [title])
    for (const [name, values] of results) rows.push(rowOf(name, values, metric, digits))
  }
  return textTable(rows)

  /** @type {(name: string, values: Map<MetricName, (number | undefined)[]>, metric: MetricName, digits: number) => string[]} */
  function rowOf(name, values, metric, digits) {
    const own = values.get(metric) ?? []
    const summary = summarize(own)
    const number = (/** @type {number | undefined} */ value) => value?.toFixed(digits) ?? NONE
    const ratios = PEERS.map(
      (peer) => medianRatio(own, results.get(peer)?.get(metric) ?? [])?.toFixed(2) ?? NONE,
    )
    return [
      `  ${name}`,
      number(summary?.median),
      number(summary?.min),
      number(summary?.max),
      ...ratios,
    ]
  }
}

/**
 * The same for programs: every value of every round.
 *
 * @param {Results} results
 */
export function reportObject(results) {
  return Object.fromEntries(
    [...results].map(([name, values]) => [name, Object.fromEntries(values)]),
  )
}

/** @returns {[MetricName, (typeof METRICS)[MetricName]][]} */
function metrics() {
  return /** @type {[MetricName, (typeof METRICS)[MetricName]][]} */ (Object.entries(METRICS))
}
