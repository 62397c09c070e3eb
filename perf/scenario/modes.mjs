/**
 * Every mode of ours that this kernel can do beside every peer, in one run: connections, connect
 * latency and bulk. `--svg FILE` draws the medians as ratios to one kernel rule.
 */
import { ratioChart } from '../bar-chart.mjs'
import { median } from '../statistics.mjs'
import { runVersus } from '../versus.mjs'

const PEERS = ['direct', 'kernel', 'iptables-1000', 'haproxy', 'nginx', 'socat']
const OURS = ['userspace', 'nfqueue-2', 'nftables-2', 'our-iptables-2']

/** @param {readonly string[]} args @returns {Promise<number>} exit status */
export function run(args) {
  return runVersus(args, { contenders: [...PEERS, ...OURS], peers: ['kernel', 'haproxy'], chart })
}

function chart({ connections, bulk }) {
  const group = (title, results, key) => ({
    title,
    rows: Object.entries(results ?? {}).map(([label, figures]) => ({
      label,
      ratio: median(figures[key].map((value, round) => value / results.kernel[key][round])),
      isOurs: OURS.includes(label),
    })),
  })
  return ratioChart({
    title: 'Connections and bytes, as ratios to one kernel DNAT rule',
    note: 'dark: kube-sluice, light: others; median of the rounds; npm run perf -- modes',
    groups: [
      group('new connections a second', connections, 'connectionsPerSecond'),
      group('bulk throughput', bulk, 'gigabitsPerSecond'),
    ],
  })
}
