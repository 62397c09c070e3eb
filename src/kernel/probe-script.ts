/**
 * What is tried to find out whether the kernel and its tools can do something: shell scripts of one
 * or a few lines. A script that ends with status 0 is the proof; version numbers and module lists are
 * none.
 *
 * In a scratch namespace, made for the script and thrown away, rules go where they would go later. A
 * container without CAP_SYS_ADMIN may make no namespace: on the node itself the same things are made
 * under names of the script's own (its process id is part of them), connected to nothing, and removed
 * when it ends, however it ends; nftables is asked to check and commits nothing.
 */
import type { IptablesVariant } from './iptables.js'

/** Where scripts run: in a network namespace of their own, or in that of the proxy. */
export type ProbePlace = 'scratch' | 'node'

export interface ProbeScript {
  /** For `sh -e`; every tool stands at the beginning of a line. */
  readonly script: string
  /** What helps when the tools are there and the kernel refuses. */
  readonly fix: string
}

/** One rule to try: where it belongs, and the rest of it. */
interface RuleTrial {
  readonly table: 'nat' | 'mangle' | 'filter'
  readonly chain: 'PREROUTING' | 'OUTPUT' | 'FORWARD'
  readonly rule: string
}

/** Names of what a script makes on the node: `$$` is the process id of its shell. */
const OWN_CHAIN = 'KUBE-SLUICE-PROBE-$$'
const OWN_SET = 'KUBE-SLUICE-P$$'
const OWN_LINK = 'ksp$$'
/** Nothing looks there: the table of the scripts' routes on the node. */
const OWN_TABLE = 1076

const REDIRECT: RuleTrial = {
  table: 'nat',
  chain: 'PREROUTING',
  rule: '-p tcp -j REDIRECT --to-ports 1',
}
const LOOPBACK_UP = 'ip link set lo up'

/** Decides between the variants of iptables. */
export function variantScript(variant: IptablesVariant, place: ProbePlace): string {
  const rules = ruleScript(`iptables${variant} -w 5`, [REDIRECT], place)
  return `${rules}\niptables${variant}-restore --noflush < /dev/null`
}

/** By name of the capability, for a variant of iptables. */
export function probeScripts(variant: IptablesVariant, place: ProbePlace) {
  return {
    ...routeScripts(place),
    ...iptablesScripts(variant, place),
    ...nftablesScripts(place),
    ...otherScripts(place),
  } as const
}

function routeScripts(place: ProbePlace) {
  return {
    'local routes IPv4': {
      script: routeScript('ip', '198.51.100.1', place),
      fix: 'run as root (CAP_NET_ADMIN)',
    },
    'local routes IPv6': {
      script: routeScript('ip -6', '2001:db8::1', place),
      fix: 'boot without ipv6.disable=1',
    },
  } as const satisfies Record<string, ProbeScript>
}

function routeScript(tool: string, address: string, place: ProbePlace): string {
  const route = `local ${address} dev lo proto 75`
  return place === 'scratch'
    ? `${LOOPBACK_UP}\n${tool} route add ${route}`
    : `${atEnd(`${tool} route del ${route} table ${OWN_TABLE}`)}
${tool} route replace ${route} table ${OWN_TABLE}`
}

function iptablesScripts(variant: IptablesVariant, place: ProbePlace) {
  const v4 = `iptables${variant} -w 5`
  const v6 = `ip6tables${variant} -w 5`
  return {
    'iptables nat': {
      script: ruleScript(v4, natTrials('192.0.2.1:1'), place),
      fix: 'modprobe -a iptable_nat xt_REDIRECT ipt_REJECT',
    },
    'ip6tables nat': {
      script: ruleScript(v6, natTrials('[2001:db8::1]:1'), place),
      fix: 'modprobe -a ip6table_nat xt_REDIRECT ip6t_REJECT',
    },
    'ipset match': {
      script: setScript(v4, place),
      fix: 'modprobe -a ip_set_hash_ipport ip_set_hash_ipportnet xt_set',
    },
    'tproxy divert IPv4': {
      script: divertScript(v4, '-4', place),
      fix: 'modprobe -a xt_socket xt_mark',
    },
    'tproxy divert IPv6': {
      script: divertScript(v6, '-6', place),
      fix: 'modprobe -a xt_socket xt_mark',
    },
    'iptables NFQUEUE': {
      script: ruleScript(v4, [mangle('-j NFQUEUE --queue-num 0 --queue-bypass')], place),
      fix: 'modprobe -a xt_NFQUEUE nfnetlink_queue',
    },
  } as const satisfies Record<string, ProbeScript>
}

function nftablesScripts(place: ProbePlace) {
  const nft = place === 'scratch' ? 'nft -f -' : 'nft -c -f -'
  return {
    'nftables nat maps': {
      script: `${nft} <<END
table ip probe {
  map slots {
    typeof ip daddr . ip protocol . th dport . numgen random mod 2 : ip daddr . th dport
    elements = { 198.51.100.1 . tcp . 80 . 0 : 198.51.100.2 . 80 }
  }
  chain prerouting {
    type nat hook prerouting priority -100
    dnat ip to ip daddr . ip protocol . th dport . numgen random mod 2 map @slots
  }
}
END`,
      fix: 'modprobe -a nf_tables nft_chain_nat nft_nat nft_numgen',
    },
    'nftables queue': {
      script: `${nft} <<END
table ip probe {
  chain prerouting {
    type filter hook prerouting priority 0
    queue num 0 bypass
  }
}
END`,
      fix: 'modprobe -a nft_queue nfnetlink_queue',
    },
  } as const satisfies Record<string, ProbeScript>
}

function otherScripts(place: ProbePlace) {
  const isScratch = place === 'scratch'
  return {
    IPVS: {
      script: isScratch
        ? 'ipvsadm -A -t 198.51.100.0:20000 -s rr'
        : `ipvsadm -A -t 198.51.100.0:20075 -s rr\nipvsadm -D -t 198.51.100.0:20075`,
      fix: 'modprobe -a ip_vs ip_vs_rr',
    },
    'dummy devices': {
      script: isScratch
        ? 'ip link add probe0 type dummy'
        : `ip link add ${OWN_LINK} type dummy\nip link del ${OWN_LINK}`,
      fix: 'modprobe dummy',
    },
    'conntrack tool': {
      script: isScratch ? 'conntrack -L -p udp' : 'conntrack -L -p udp -s 198.51.100.1',
      fix: 'modprobe -a nf_conntrack nf_conntrack_netlink',
    },
  } as const satisfies Record<string, ProbeScript>
}

/** Tries rules; on the node in a chain that no packet ever gets to. */
function ruleScript(tool: string, trials: readonly RuleTrial[], place: ProbePlace): string {
  if (place === 'scratch') {
    return trials
      .map(({ table, chain, rule }) => `${tool} -t ${table} -A ${chain} ${rule}`)
      .join('\n')
  }
  const tables = [...new Set(trials.map(({ table }) => table))]
  return [
    removalOf(tool, tables),
    ...tables.map((table) => `${tool} -t ${table} -N ${OWN_CHAIN}`),
    ...trials.map(({ table, rule }) => `${tool} -t ${table} -A ${OWN_CHAIN} ${rule}`),
  ].join('\n')
}

function removalOf(tool: string, tables: readonly string[], more = ''): string {
  const chains = tables.flatMap((table) =>
    ['-F', '-X'].map((verb) => `${tool} -t ${table} ${verb} ${OWN_CHAIN}`),
  )
  return atEnd([...chains, ...(more === '' ? [] : [more])].join('; '))
}

/** Does it when the script ends, and does not mind failures: not everything may have been made. */
function atEnd(commands: string): string {
  return `trap 'set +e; { ${commands}; } 2>/dev/null' EXIT`
}

function mangle(rule: string): RuleTrial {
  return { table: 'mangle', chain: 'PREROUTING', rule }
}

function natTrials(target: string): readonly RuleTrial[] {
  return [
    REDIRECT,
    { table: 'nat', chain: 'OUTPUT', rule: `-p udp -j DNAT --to-destination ${target}` },
    {
      table: 'filter',
      chain: 'FORWARD',
      rule: '-m conntrack --ctstate NEW -m comment --comment x -j REJECT',
    },
  ]
}

function setScript(tool: string, place: ProbePlace): string {
  const [a, b] = [`${OWN_SET}A`, `${OWN_SET}B`]
  const rule = `-m set --match-set ${a} dst,dst -m set ! --match-set ${b} dst,dst,src -j DROP`
  const sets = `ipset create ${a} hash:ip,port family inet
ipset create ${b} hash:ip,port,net family inet`
  const rules = ruleScript(tool, [mangle(rule)], place)
  if (place === 'scratch') return `${sets}\n${rules}`
  // The later trap is the one that counts: it removes the chain first, which holds the sets.
  const removal = removalOf(tool, ['mangle'], `ipset destroy ${a}; ipset destroy ${b}`)
  return `${removal}\n${sets}\n${rules.slice(rules.indexOf('\n') + 1)}`
}

function divertScript(tool: string, family: '-4' | '-6', place: ProbePlace): string {
  const divert = mangle('-p tcp -m socket --transparent -j MARK --set-xmark 0x2000/0x2000')
  if (place === 'node') return ruleScript(tool, [divert], place)
  return `${LOOPBACK_UP}
ip ${family} rule add priority 1075 fwmark 0x2000/0x2000 lookup 1075
ip ${family} route add local default dev lo table 1075
${ruleScript(tool, [divert], place)}`
}
