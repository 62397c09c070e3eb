/**
 * The rules of the redirect capture as values: a plan in, sets and chains of one family out. Pure.
 *
 *   mangle PREROUTING, OUTPUT   KUBE-SLUICE-FIREWALL  new, in LIMITED, source not in ALLOWED: DROP
 *   nat    PREROUTING, OUTPUT   KUBE-SLUICE-CAPTURE   TCP in VIP: REDIRECT; each UDP VIP: DNAT
 *   filter INPUT, FORWARD, OUT  KUBE-SLUICE-REJECT    new, in REJECT: REJECT
 *
 * mangle comes before nat, so the firewall sees the VIP as the client wrote it. UDP has one rule a
 * VIP, each to a socket of its own: a datagram has no accept() that tells where it was sent to.
 * Nothing is accepted here: what else an administrator filters stays filtered.
 */
import type { IpFamily } from '../../lib/ip-address.js'
import { formatAddress } from '../../lib/ip-address.js'
import { type IpSet, setName } from '../../kernel/ipset.js'
import { comment, type IptablesChain } from '../../kernel/iptables.js'
import type { CapturedVip } from './capture.js'

const VIP_SET = 'KUBE-SLUICE-VIP'
const LIMITED_SET = 'KUBE-SLUICE-LIMITED'
const ALLOWED_SET = 'KUBE-SLUICE-ALLOWED'
const REJECT_SET = 'KUBE-SLUICE-REJECT'

/** Kernel names of all sets of a family. */
export function redirectSetNames(family: IpFamily): readonly string[] {
  return [VIP_SET, LIMITED_SET, ALLOWED_SET, REJECT_SET].map((name) => setName(name, family))
}

/** The sets for the VIPs of one family. */
export function redirectSets(vips: readonly CapturedVip[], family: IpFamily): readonly IpSet[] {
  const balanced = vips.filter(({ action, protocol }) => action === 'balance' && protocol === 'TCP')
  const limited = vips.filter((vip) => vip.action === 'drop' || limitsOf(vip) !== undefined)
  const allowed = limited.flatMap((vip) =>
    vip.action === 'drop'
      ? []
      : (limitsOf(vip) ?? [])
          .filter((range) => range.family === family)
          .map((range) => `${entryOf(vip)},${range.text}`),
  )
  const rejected = vips.filter(({ action }) => action === 'reject')
  const set = (name: string, entries: readonly string[]): IpSet => {
    const type = name === ALLOWED_SET ? 'hash:ip,port,net' : 'hash:ip,port'
    return { name, type, family, entries: [...new Set(entries)] }
  }
  return [
    set(VIP_SET, balanced.map(entryOf)),
    set(LIMITED_SET, limited.map(entryOf)),
    set(ALLOWED_SET, allowed),
    set(REJECT_SET, rejected.map(entryOf)),
  ]
}

/**
 * The chains for the VIPs of one family; without VIPs, for their names and hooks.
 * @throws RangeError when the TCP VIPs do not share one listener
 */
export function redirectChains(
  vips: readonly CapturedVip[],
  family: IpFamily,
): readonly IptablesChain[] {
  const isNew = '-m conntrack --ctstate NEW'
  return [
    {
      table: 'mangle',
      name: 'KUBE-SLUICE-FIREWALL',
      hooks: ['PREROUTING', 'OUTPUT'],
      comment: 'kube-sluice: who may reach a Service',
      rules: [
        `${isNew} ${match(LIMITED_SET, family, 'dst,dst')}` +
          ` ${match(ALLOWED_SET, family, 'dst,dst,src', '! ')}` +
          ` ${comment('kube-sluice: source not in loadBalancerSourceRanges or no local endpoint')} -j DROP`,
      ],
    },
    {
      table: 'nat',
      name: 'KUBE-SLUICE-CAPTURE',
      hooks: ['PREROUTING', 'OUTPUT'],
      comment: 'kube-sluice: new connections to Services',
      rules: [...redirectRule(vips, family), ...vips.flatMap(translationRule)],
    },
    {
      table: 'filter',
      name: 'KUBE-SLUICE-REJECT',
      hooks: ['INPUT', 'FORWARD', 'OUTPUT'],
      comment: 'kube-sluice: Services without endpoints',
      rules: [
        `${isNew} ${match(REJECT_SET, family, 'dst,dst')}` +
          ` ${comment('kube-sluice: the Service has no endpoints')} -j REJECT`,
      ],
    },
  ]
}

function redirectRule(vips: readonly CapturedVip[], family: IpFamily): readonly string[] {
  const listeners = vips.filter(({ protocol }) => protocol === 'TCP').map(({ listen }) => listen)
  const ports = [...new Set(listeners.flatMap((listen) => (listen ? [listen.port] : [])))]
  if (ports.length > 1) throw new RangeError(`redirect: ${ports.length} TCP listeners, not one`)
  return ports.map(
    (port) =>
      `-p tcp ${match(VIP_SET, family, 'dst,dst')}` +
      ` ${comment('kube-sluice: TCP to a Service goes to the relay')} -j REDIRECT --to-ports ${port}`,
  )
}

function translationRule(vip: CapturedVip): readonly string[] {
  if (vip.protocol !== 'UDP' || vip.action !== 'balance' || vip.listen === undefined) return []
  const to = formatAddress(vip.listen.address, vip.listen.port)
  const note = comment('kube-sluice: UDP to a Service goes to its socket of the relay')
  // Written as `-S` prints it, so that what an earlier process left can be compared with it.
  const address = `${vip.address}/${vip.ipFamily === 'IPv4' ? 32 : 128}`
  return [`-d ${address} -p udp -m udp --dport ${vip.port} ${note} -j DNAT --to-destination ${to}`]
}

/** Undefined: everyone. A /0 is everyone too, and ipset knows no such entry. */
function limitsOf({
  allowedSources,
}: CapturedVip): Exclude<CapturedVip['allowedSources'], 'all'> | undefined {
  if (allowedSources === 'all') return undefined
  return allowedSources.some(({ prefixLength }) => prefixLength === 0) ? undefined : allowedSources
}

function entryOf({ address, protocol, port }: CapturedVip): string {
  return `${address},${protocol.toLowerCase()}:${port}`
}

function match(set: string, family: IpFamily, directions: string, not = ''): string {
  return `-m set ${not}--match-set ${setName(set, family)} ${directions}`
}
