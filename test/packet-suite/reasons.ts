/** Differences that several cases share, with their reasons. */
import {
  type Difference,
  type EndpointPlace,
  masqueraded,
  PASSED,
  REJECTED,
  type PacketCase,
  type Responder,
} from './packet-case.js'

type Except = NonNullable<PacketCase['except']>

const isOfTheNode: Difference = {
  expect: REJECTED,
  why: 'a VIP is an address of the node there, and nobody is met at its other ports',
}

/** Ports of a VIP that no Service has. */
export const LOCAL_VIP: Except = {
  'userspace-anyip': isOfTheNode,
  'userspace-tproxy': isOfTheNode,
  ipvs: isOfTheNode,
}

/** An endpoint that shares the node's network: the relay meets it there. */
export function onTheNode(...by: readonly Responder[]): Except {
  return {
    'userspace-tproxy': {
      expect: masqueraded(...by),
      why: 'relay and endpoint are on one host, where packets from a foreign address go astray',
    },
  }
}

/** A connection of the node's own, relayed: any of its addresses is its own. */
export function fromTheNode(...by: readonly Responder[]): Except {
  return {
    'userspace-tproxy': {
      expect: masqueraded(...by),
      why: 'the relay, on the node as the client, leaves by the address that fits the way',
    },
  }
}

const notInOutput: Difference = {
  expect: PASSED,
  why: 'as in kube-proxy, the rules that refuse at external IPs and load-balancer IPs are in INPUT and FORWARD only',
}

/** The node itself at an external or load-balancer IP without endpoints. */
export const NOT_IN_OUTPUT: Except = {
  'iptables-nft': notInOutput,
  'iptables-legacy': notInOutput,
}

/** A node port on 127.0.0.1. */
export const ON_LOOPBACK: Except = {
  ipvs: {
    expect: REJECTED,
    why: 'IPVS sends nothing from a loopback address to another host; nor has kube-proxy’s ipvs mode node ports there',
  },
}

/** Session affinity over several destinations. */
export function eachSticky(...by: readonly EndpointPlace[]): Except {
  return {
    ipvs: {
      expect: { kind: 'sticky', by, each: true },
      why: 'a virtual server knows its own clients only, and each destination is one, as in kube-proxy’s ipvs mode',
    },
  }
}

const notRelayed: Difference = {
  expect: PASSED,
  why: 'the relay has no SCTP: such a Service is left out, with a warning',
}

/** A Service whose ports are SCTP. */
export const NO_RELAY: Except = {
  'userspace-tproxy': notRelayed,
  'userspace-anyip': notRelayed,
  'userspace-redirect': notRelayed,
}
