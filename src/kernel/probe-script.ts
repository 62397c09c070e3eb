/**
 * What is tried to find out whether the kernel and its tools can do something: shell scripts of one
 * or a few lines that program a network namespace made for them and thrown away. A script that ends
 * with status 0 is the proof; version numbers and module lists are none.
 */
import type { IptablesVariant } from './iptables.js'

export interface ProbeScript {
  /** For `sh -e`; every tool stands at the beginning of a line. */
  readonly script: string
  /** What helps when the tools are there and the kernel refuses. */
  readonly fix: string
}

const LOOPBACK_UP = 'ip link set lo up'
const REDIRECT = '-t nat -A PREROUTING -p tcp -j REDIRECT --to-ports 1'

/** Decides between the variants of iptables. */
export function variantScript(variant: IptablesVariant): string {
  return `iptables${variant} -w 5 ${REDIRECT}\niptables${variant}-restore --noflush < /dev/null`
}

/** By name of the capability, for a variant of iptables. */
export function probeScripts(variant: IptablesVariant) {
  return { ...ROUTE_SCRIPTS, ...iptablesScripts(variant), ...OTHER_SCRIPTS } as const
}

const ROUTE_SCRIPTS = {
  'local routes IPv4': {
    script: `${LOOPBACK_UP}\nip route add local 198.51.100.1 dev lo proto 75`,
    fix: 'run as root (CAP_NET_ADMIN)',
  },
  'local routes IPv6': {
    script: `${LOOPBACK_UP}\nip -6 route add local 2001:db8::1 dev lo proto 75`,
    fix: 'boot without ipv6.disable=1',
  },
} as const satisfies Record<string, ProbeScript>

function iptablesScripts(variant: IptablesVariant) {
  const v4 = `iptables${variant} -w 5`
  const v6 = `ip6tables${variant} -w 5`
  return {
    'iptables nat': {
      script: natScript(v4, '192.0.2.1:1'),
      fix: 'modprobe -a iptable_nat xt_REDIRECT ipt_REJECT',
    },
    'ip6tables nat': {
      script: natScript(v6, '[2001:db8::1]:1'),
      fix: 'modprobe -a ip6table_nat xt_REDIRECT ip6t_REJECT',
    },
    'ipset match': {
      script: `ipset create A hash:ip,port family inet
ipset create B hash:ip,port,net family inet
${v4} -t mangle -A PREROUTING -m set --match-set A dst,dst -m set ! --match-set B dst,dst,src -j DROP`,
      fix: 'modprobe -a ip_set_hash_ipport ip_set_hash_ipportnet xt_set',
    },
    'tproxy divert IPv4': { script: divertScript(v4, '-4'), fix: 'modprobe -a xt_socket xt_mark' },
    'tproxy divert IPv6': { script: divertScript(v6, '-6'), fix: 'modprobe -a xt_socket xt_mark' },
    'iptables NFQUEUE': {
      script: `${v4} -t mangle -A PREROUTING -j NFQUEUE --queue-num 0 --queue-bypass`,
      fix: 'modprobe -a xt_NFQUEUE nfnetlink_queue',
    },
  } as const satisfies Record<string, ProbeScript>
}

const OTHER_SCRIPTS = {
  'nftables nat maps': {
    script: `nft -f - <<END
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
    script: `nft -f - <<END
table ip probe {
  chain prerouting {
    type filter hook prerouting priority 0
    queue num 0 bypass
  }
}
END`,
    fix: 'modprobe -a nft_queue nfnetlink_queue',
  },
  IPVS: {
    script: 'ipvsadm -A -t 198.51.100.0:20000 -s rr',
    fix: 'modprobe -a ip_vs ip_vs_rr',
  },
  'dummy devices': { script: 'ip link add probe0 type dummy', fix: 'modprobe dummy' },
  'conntrack tool': {
    script: 'conntrack -L -p udp',
    fix: 'modprobe -a nf_conntrack nf_conntrack_netlink',
  },
} as const satisfies Record<string, ProbeScript>

function natScript(tool: string, target: string): string {
  return `${tool} ${REDIRECT}
${tool} -t nat -A OUTPUT -p udp -j DNAT --to-destination ${target}
${tool} -A FORWARD -m conntrack --ctstate NEW -m comment --comment x -j REJECT`
}

function divertScript(tool: string, family: '-4' | '-6'): string {
  return `${LOOPBACK_UP}
ip ${family} rule add priority 1075 fwmark 0x2000/0x2000 lookup 1075
ip ${family} route add local default dev lo table 1075
${tool} -t mangle -A PREROUTING -p tcp -m socket --transparent -j MARK --set-xmark 0x2000/0x2000`
}
