import t from 'tap'
import { statusText, type TableOptions } from '../../../src/cli/status/table.js'
import { FIRST_VIEW } from '../../../src/cli/status/view.js'
import { Rates } from '../../../src/cli/status/rates.js'
import type { ServicePortStatus } from '../../../src/observe/status.js'
import { proxyStatus, servicePortStatus, threeServices } from '../../fixtures/status-document.js'

const NOW = Date.parse('2026-01-01T00:05:00Z')
const shown = (options: Partial<TableOptions> = {}, status = threeServices()): string[] =>
  statusText(status, {
    ...{ view: FIRST_VIEW, width: undefined, hasColour: false, nowMs: NOW },
    ...options,
  }).split('\n')
const tableOf = (lines: readonly string[]): readonly string[] => lines.slice(lines.indexOf('') + 1)

t.test('everything is there when there is no limit', async (t) => {
  const lines = shown()
  t.same(lines.slice(0, lines.indexOf('')), [
    'node node-a, mode nfqueue (tproxy), up 5m, generation 2',
    '3 Service ports, 5 endpoints: 2 up, 1 down, 1 ejected',
    'connections: 9 open, 120 in all, 1 failed, 2 retries',
    'queues: 1, 2 packets waiting, 1 dropped',
    'auto: nfqueue, past a threshold nftables; servicePorts 3 of 5000',
    'switched 1 times, last at 2026-01-01T00:00:00.000Z from nftables to nfqueue: below the thresholds for 5m0s',
    'last sync failed: nft: Operation not permitted',
    'warning: node port 30081 is taken',
  ])
  t.matchOnly(tableOf(lines), [
    /^SERVICE \/ ENDPOINT +STATE +SINCE +WEIGHT +OPEN +TOTAL +FAILED +RETRIES +BALANCER \/ LAST CHECK$/,
    /^kube-system\/dns:dns UDP 10.96.0.10:80 192.0.2.1:30080 +1\/1 in use +9 +40 +0 +0 +round-robin$/,
    /^ {2}10.244.3.3:53 web-1 +up +1 +3 +40 +0$/,
    /^test\/web:http TCP 10.96.0.10:80 192.0.2.1:30080 +2\/3 in use +3 +123456 +4 +17 +least-connections$/,
    /^ {2}10.244.1.2:8080 web-1 +up +5m +1 +3 +40 +0 +http: answered 200$/,
    /^ {2}10.244.2.2:8080 web-2 +down +4m +1 +3 +40 +5 +http: connect ECONNREFUSED 10.244.2.2:8080$/,
    /^ {2}10.244.2.3:8080 +ejected +5m +1 +3 +40 +0 +http: answered 200$/,
    /^test\/zero TCP +0\/0 in use +0 +40 +0 +0 +least-connections$/,
    '',
  ])
})

t.test('columns go in the stated order, and no line is wider than the terminal', async (t) => {
  const rates = new Rates()
  rates.add(threeServices(), 0)
  rates.add(threeServices(), 1000)
  for (const [width, titles] of [
    [200, 'STATE SINCE WEIGHT OPEN RATE/S TOTAL FAILED RETRIES BALANCER / LAST CHECK'],
    [120, 'STATE SINCE WEIGHT OPEN RATE/S TOTAL FAILED RETRIES BALANCER / LAST CHE…'],
    [80, 'STATE SINCE OPEN RATE/S FAILED'],
    [60, 'STATE OPEN RATE/S'],
    [40, 'STATE OPEN'],
  ] as const) {
    const lines = shown({ width, rates })
    const [head = ''] = tableOf(lines)
    t.equal(head.replace(/ +/g, ' '), `SERVICE / ENDPOINT ${titles}`, `${width} columns`)
    t.same(
      lines.filter((line) => line.length > width),
      [],
      `${width} columns`,
    )
    t.ok(lines.some((line) => line.startsWith('test/web:http')))
    t.ok(lines.some((line) => /10\.244\.2\.2:8080.*down +(4m +)?(1 +)?3/.test(line)))
  }
  const narrow = shown({ width: 40, rates }).find((line) => line.startsWith('test/web'))
  t.match(narrow, /^test\/web:http TCP .*… +2\/3 in use +3$/, 'a cut is marked')
})

t.test('colours are asked for, and take no room', async (t) => {
  const plain = shown({ width: 80 })
  const coloured = shown({ width: 80, hasColour: true })
  t.notMatch(plain.join('\n'), '\u001b')
  t.match(coloured.join('\n'), '\u001b[31mdown\u001b[0m')

  t.same(coloured.join('\n').replace(/\u001b\[\d*m/g, ''), plain.join('\n'))
})

t.test('rates are those between two statuses, and none across a restart', async (t) => {
  const at = (totalConnections: number, startedAt = 'a') =>
    proxyStatus({
      startedAt,
      totals: { ...proxyStatus().totals, totalConnections },
      services: [servicePortStatus({ totalConnections })],
    })
  const [service] = at(0).services
  const rates = new Rates()
  rates.add(at(100), 5000)
  t.equal(rates.all, undefined)
  rates.add(at(130), 7000)
  t.equal(rates.all, 15)
  t.equal(rates.of(service!), 15)
  t.equal(rates.of(service!, service!.endpoints[0]), 0)
  rates.add(at(5, 'b'), 8000)
  t.equal(rates.all, undefined)
})

t.test('what rules serve is not counted, and does not look as if nothing came', async (t) => {
  const byRules = (action: string): Partial<ServicePortStatus> => ({
    vips: [{ kind: 'cluster-ip', address: '10.96.0.10:80', action }],
  })
  const rules = { mode: 'nftables', auto: undefined, steering: undefined } as const
  const pure = shown({}, proxyStatus({ ...rules, services: [servicePortStatus(byRules('rules'))] }))
  t.notMatch(pure.join('\n'), ' in all, ')
  t.match(pure.join('\n'), /connections: .* not counted\n/)
  const [, port, endpoint] = tableOf(pure)
  t.match(port, /10.96.0.10:80 +1\/1 in use +- +- +- +- +least-connections$/)
  t.match(endpoint, /web-1 +up +5m +1 +- +- +- +http: answered 200$/)

  const { auto } = proxyStatus()
  const services = [servicePortStatus(byRules('rules')), servicePortStatus(byRules('steer'))]
  const mixed = shown({}, proxyStatus({ ...rules, auto, services }))
  t.match(mixed.join('\n'), /not counted\nconnections: 9 open/)
  t.match(tableOf(mixed)[3], /in use +3 +40 +0 +0 /)
})
