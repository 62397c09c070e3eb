/**
 * Every mode of ours that this kernel can do beside every peer, in one run: connections, connect
 * latency and bulk. `--svg FILE` draws the rounds.
 */
import { spanChart } from '../bar-chart.mjs'
import { median } from '../statistics.mjs'
import { runVersus } from '../versus.mjs'

const PEERS = ['direct', 'kernel', 'iptables-1000', 'haproxy', 'nginx', 'socat']
const OURS = ['userspace', 'nfqueue-2', 'nftables-2', 'our-iptables-2']

/** @param {readonly string[]} args @returns {Promise<number>} exit status */
export function run(args) {
  return runVersus(args, { contenders: [...PEERS, ...OURS], peers: ['kernel', 'haproxy'], chart })
}

function chart({ connections, bulk }) {
  const group = (title, results, key, digits) => ({
    title,
    rows: Object.entries(results ?? {}).map(([label, figures]) => ({
      label,
      median: Number(median(figures[key]).toFixed(digits)),
      least: Math.min(...figures[key]),
      most: Math.max(...figures[key]),
    })),
  })
  return spanChart({
    title: 'Median, least and most of the rounds, all in one run',
    groups: [
      group('new connections a second', connections, 'connectionsPerSecond', 0),
      group('Gbit/s of four streams', bulk, 'gigabitsPerSecond', 1),
    ].filter(({ rows }) => rows.length > 0),
  })
}
