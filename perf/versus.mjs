/**
 * Contenders side by side. Each has a node namespace of its own, with a link to the one client and to
 * each pod, so that no rule of one stands in another's way; all are there all the time, idle, and the
 * load goes to one after the other, in an order that turns.
 *
 *   client 10.0.N.2 -- 10.0.N.1 node N (contender N) -- 172.16.N.x -- 10.244.P.2 two pods
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { CONTENDERS, POD_IPS } from './contenders.mjs'
import { CONCURRENCY, cpuSeconds, moveBytes, openConnections } from './load.mjs'
import { podConfig } from './peers.mjs'
import { compileLoad, eventually, inPlace, link, MANY_CONNECTIONS, output } from './place.mjs'
import { alternate } from './rounds.mjs'
import { difference, ratio, spread, table } from './statistics.mjs'

const KERNEL = 'kernel'
/** Entries of connections that are over: the table of the machine holds some 262,144. */
export const NODE_SYSCTLS = {
  ...MANY_CONNECTIONS,
  'net.ipv4.ip_forward': '1',
  'net.netfilter.nf_conntrack_tcp_timeout_time_wait': '2',
}
const LATENCY_PAUSE_US = 500

const FIGURES = ['connections', 'latency', 'bulk']

/**
 * Reads the words of the command line, measures and prints.
 * @param {readonly string[]} args
 * @param {{ contenders: readonly string[], peers: readonly string[], chart?: (results) => string,
 *   programming?: (place, rounds: number) => Promise<object> }} scenario who is measured by default, whom
 *   ratios are to; what --svg writes; the figure `programming`
 * @returns {Promise<number>} exit status
 */
export async function runVersus(args, { contenders: defaults, peers, chart, programming }) {
  const known = programming === undefined ? FIGURES : [...FIGURES, 'programming']
  const { values } = parseArgs({
    args: [...args],
    options: {
      contenders: { type: 'string', default: defaults.join(',') },
      figures: { type: 'string', default: known.join(',') },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      connects: { type: 'string', default: '1000' },
      json: { type: 'string' },
      svg: { type: 'string' },
    },
  })
  const names = values.contenders.split(',')
  const figures = values.figures.split(',')
  const unknown = [
    ...names.filter((name) => !Object.hasOwn(CONTENDERS, name)),
    ...figures.filter((name) => !known.includes(name)),
  ]
  if (unknown.length > 0) {
    console.error(`perf: no contender or figure "${unknown.join('", "')}"`)
    return 2
  }
  const [rounds, seconds] = [Number(values.rounds), Number(values.seconds)]
  return inPlace(async (place) => {
    const results = {}
    if (figures.some((name) => FIGURES.includes(name))) {
      const { client, contenders } = await setUp(place, names)
      const on = { place, client, contenders, rounds, seconds }
      if (figures.includes('connections')) results.connections = await connections(on)
      if (figures.includes('latency')) results.latency = await latency(on, values.connects)
      if (figures.includes('bulk')) results.bulk = await bulk(on)
    }
    if (figures.includes('programming')) results.programming = await programming(place, rounds)
    report(results, peers)
    if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(results, undefined, 2))
    if (values.svg !== undefined && chart !== undefined) writeFileSync(values.svg, chart(results))
  })
}

/** The client, the pods, and each contender on its node; all of them answer. */
async function setUp(place, names) {
  const { namespaces, folder } = place
  const client = await namespaces.add('client')
  await namespaces.sysctl(client, MANY_CONNECTIONS)
  const pods = []
  for (const [index, ip] of POD_IPS.entries()) {
    const pod = index + 1
    const netns = await namespaces.add(`pod${pod}`)
    pods.push(netns)
    await namespaces.configure(netns, [`addr add ${ip}/32 dev lo`])
    const config = join(folder, `pod${pod}.conf`)
    writeFileSync(config, podConfig(folder, `pod${pod}`))
    namespaces.spawn(netns, ['nginx', '-c', config], { stdio: 'ignore' })
    namespaces.spawn(netns, ['iperf3', '-s', '-p', '5201'], { stdio: 'ignore' })
  }

  const contenders = []
  for (const [index, name] of names.entries()) {
    const number = index + 1
    const node = await addNode(namespaces, number, { client, pods })
    const vip = `10.96.${number}.1`
    const at = { client, vip, address: `10.0.${number}.1` }
    const made = await CONTENDERS[name](place, node, at)
    contenders.push({ name, http: [vip, 80], bulk: [vip, 5201], pids: [], ...made })
    console.error(`${name} is set up`)
  }
  for (const { name, http } of contenders) {
    await eventually(`${name} does not answer at ${http.join(':')}`, async () => {
      const url = `http://${http.join(':')}/`
      return (await output(place, client, ['wrk', '-t1', '-c1', '-d1s', url])).includes(
        'requests in',
      )
    })
  }
  return { client, contenders }
}

/** A node with a link to the client and one to each pod. */
async function addNode(namespaces, number, { client, pods }) {
  const node = await namespaces.add(`node${number}`)
  await namespaces.sysctl(node, NODE_SYSCTLS)
  const ends = [`10.0.${number}.2/24`, `10.0.${number}.1/24`]
  await link(namespaces, [client, `node${number}`, ends[0]], [node, 'client', ends[1]])
  await namespaces.configure(client, [`route add 10.96.${number}.0/24 via 10.0.${number}.1`])
  await namespaces.configure(node, [`route add default via 10.0.${number}.2`])
  for (const [index, pod] of pods.entries()) {
    const [here, there] = [4 * index + 1, 4 * index + 2].map((host) => `172.16.${number}.${host}`)
    const device = `pod${index + 1}`
    await link(namespaces, [pod, `node${number}`, `${there}/30`], [node, device, `${here}/30`])
    await namespaces.configure(pod, [`route add 10.0.${number}.0/24 via ${here}`])
    await namespaces.configure(node, [`route add ${POD_IPS[index]}/32 via ${there}`])
  }
  return node
}

function connections({ place, client, contenders, rounds, seconds }) {
  const measure = async ({ http, pids }, isWarmUp) => {
    const before = cpuSeconds(pids)
    const { requests, perSecond } = await openConnections(
      place,
      client,
      http,
      isWarmUp ? 1 : seconds,
    )
    const after = cpuSeconds(pids)
    const each = (part) => (pids.length > 0 ? ((after[part] - before[part]) * 1e6) / requests : NaN)
    return {
      connectionsPerSecond: perSecond,
      userMicrosPerConnection: each('user'),
      systemMicrosPerConnection: each('system'),
    }
  }
  const brief = ({ connectionsPerSecond }) => `${Math.round(connectionsPerSecond)} connections/s`
  return alternate(contenders, rounds, { measure, brief }).then(Object.fromEntries)
}

/** All contenders in each round, connection by connection. */
async function latency({ place, client, contenders, rounds }, connects) {
  const program = compileLoad(place.folder, 'connect-latency')
  const targets = contenders.map(({ http }) => http.join(':'))
  const results = contenders.map(({ name }) => [name, { p50Us: [], p90Us: [], p99Us: [] }])
  for (let round = 1; round <= rounds; round++) {
    const command = [program, connects, String(LATENCY_PAUSE_US), ...targets]
    const answers = JSON.parse(await output(place, client, command))
    answers.forEach((answer, index) => {
      for (const [key, value] of Object.entries(answer)) results[index][1][key].push(value)
    })
    const [first] = answers
    console.error(`round ${round}/${rounds}  ${contenders[0].name}: p50 ${first.p50Us} µs`)
  }
  return Object.fromEntries(results)
}

/** What a GiB costs is NaN for those without a process. */
function bulk({ place, client, contenders, rounds, seconds }) {
  const measure = async ({ bulk: target, pids }, isWarmUp) => {
    const before = cpuSeconds(pids).all
    const { bytes, gigabitsPerSecond } = await moveBytes(
      place,
      client,
      target,
      isWarmUp ? 1 : seconds,
    )
    const spent = cpuSeconds(pids).all - before
    const cpuSecondsPerGib = pids.length > 0 ? spent / (bytes / 2 ** 30) : NaN
    return { gigabitsPerSecond, cpuSecondsPerGib }
  }
  const brief = ({ gigabitsPerSecond }) => `${gigabitsPerSecond.toFixed(1)} Gbit/s`
  return alternate(contenders, rounds, { measure, brief }).then(Object.fromEntries)
}
/**
 * Prints the tables of those figures that there are, with ratios to these peers.
 * @param {{ connections?, latency?, bulk?, programming? }} results @param {readonly string[]} peers names of contenders
 */
function report({ connections, latency, bulk, programming }, peers) {
  const ratios = (results, key, values) =>
    peers.map((peer) => ratioTo(results[peer]?.[key], values))
  const over = peers.map((peer) => `/${peer}`)
  if (connections !== undefined) {
    const head = ['', 'connections/s', ...over, 'user µs each', 'system µs each']
    const rows = Object.entries(connections).map(([name, one]) => [
      name,
      spread(one.connectionsPerSecond, 0),
      ...ratios(connections, 'connectionsPerSecond', one.connectionsPerSecond),
      spread(one.userMicrosPerConnection, 0),
      spread(one.systemMicrosPerConnection, 0),
    ])
    console.log(`\n${table([head, ...rows])}`)
  }
  if (latency !== undefined) {
    const added = (one, key) => {
      const peer = latency[KERNEL]?.[key]
      return peer === undefined ? '-' : difference(one[key], peer, 1)
    }
    const head = ['', 'connect p50 µs', '- kernel', 'p90 µs', '- kernel', 'p99 µs', '- kernel']
    const rows = Object.entries(latency).map(([name, one]) => [
      name,
      ...['p50Us', 'p90Us', 'p99Us'].flatMap((key) => [spread(one[key], 0), added(one, key)]),
    ])
    console.log(`\n${table([head, ...rows])}`)
  }
  if (bulk !== undefined) {
    const rows = Object.entries(bulk).map(([name, one]) => [
      name,
      spread(one.gigabitsPerSecond, 1),
      ...ratios(bulk, 'gigabitsPerSecond', one.gigabitsPerSecond),
      spread(one.cpuSecondsPerGib, 2),
    ])
    console.log(`\n${table([['', 'Gbit/s', ...over, 'CPU s/GiB'], ...rows])}`)
  }
  if (programming !== undefined) {
    const { coldMs, changeMs } = programming
    console.log(
      `\n250,000 endpoints cold: ${spread(coldMs, 0)} ms; one change: ${spread(changeMs, 0)} ms`,
    )
  }
  const version = (...command) => execFileSync(command[0], command.slice(1), { encoding: 'utf8' })
  const tools = [version('haproxy', '-v').split('\n')[0], version('iptables-legacy', '-V').trim()]
  console.log(
    `\nMedians [min..max]; ratios and differences are medians of the rounds. ${cpus().length} processors, Node ${process.version}, ${tools.join(', ')}.`,
  )
  console.log(
    `connections/s: wrk, ${CONCURRENCY} at a time, each request on a connection of its own; connect: one at a time, contender by contender in turn, the queue idle; Gbit/s: iperf3, 4 streams.`,
  )
}

function ratioTo(peer, values) {
  return peer === undefined ? '-' : ratio(values, peer)
}
