/**
 * An endpoint in the memory that 250,000 of them may take: what differs from one to the next is in the
 * object, what many have in common is in traits that they share, and its address is read from its id.
 * About 140 bytes each with its texts; with every field in the object it was 260.
 */
import type { Endpoint } from './endpoint.js'

/** What the endpoints of a slice mostly have in common. Immutable, shared. */
export type EndpointTraits = Omit<Endpoint, 'id' | 'ip' | 'nodeName' | 'podName'>

export class CompactEndpoint implements Endpoint {
  readonly id: string
  readonly nodeName: string | undefined
  readonly podName: string | undefined
  readonly traits: EndpointTraits

  constructor(id: string, names: Pick<Endpoint, 'nodeName' | 'podName'>, traits: EndpointTraits) {
    this.id = id
    this.nodeName = names.nodeName
    this.podName = names.podName
    this.traits = traits
  }

  get ip(): string {
    const { id } = this
    const end = id.lastIndexOf(':')
    return id.startsWith('[') ? id.slice(1, end - 1) : id.slice(0, end)
  }

  get port(): number {
    return this.traits.port
  }

  get isLocal(): boolean {
    return this.traits.isLocal
  }

  get isReady(): boolean {
    return this.traits.isReady
  }

  get isServing(): boolean {
    return this.traits.isServing
  }

  get isTerminating(): boolean {
    return this.traits.isTerminating
  }

  get weight(): number {
    return this.traits.weight
  }

  get zoneHints(): readonly string[] {
    return this.traits.zoneHints
  }

  get nodeHints(): readonly string[] {
    return this.traits.nodeHints
  }

  get zone(): string | undefined {
    return this.traits.zone
  }
}

/** Every field by name: for copies with something changed, and to look at. */
export function plainEndpoint(endpoint: Endpoint): Endpoint {
  const { id, ip, nodeName, podName } = endpoint
  return { id, ip, ...plainTraits(endpoint), nodeName, podName }
}

function plainTraits(endpoint: EndpointTraits): EndpointTraits {
  return {
    port: endpoint.port,
    isLocal: endpoint.isLocal,
    isReady: endpoint.isReady,
    isServing: endpoint.isServing,
    isTerminating: endpoint.isTerminating,
    weight: endpoint.weight,
    zoneHints: endpoint.zoneHints,
    nodeHints: endpoint.nodeHints,
    zone: endpoint.zone,
  }
}

/** Whether two endpoints are equal in all that they say. */
export function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return (
    a === b ||
    (a.id === b.id && a.nodeName === b.nodeName && a.podName === b.podName && sameTraits(a, b))
  )
}

function sameTraits(a: EndpointTraits, b: EndpointTraits): boolean {
  return (
    a.port === b.port &&
    a.isLocal === b.isLocal &&
    a.isReady === b.isReady &&
    a.isServing === b.isServing &&
    a.isTerminating === b.isTerminating &&
    a.weight === b.weight &&
    a.zone === b.zone &&
    sameNames(a.zoneHints, b.zoneHints) &&
    sameNames(a.nodeHints, b.nodeHints)
  )
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a === b || (a.length === b.length && a.every((name, index) => name === b[index]))
}

/** Kinds of endpoints that are kept once over all slices; more are kept once a slice. */
const MAX_TRAITS = 20_000

/** Traits that have been seen, so that equal ones are one object. */
export class SharedTraits {
  readonly #byText = new Map<string, EndpointTraits>()
  /** Those of the slice at hand: mostly a handful. */
  #recent: EndpointTraits[] = []

  /** Of the next slice. */
  begin(): void {
    this.#recent = []
  }

  share(wanted: EndpointTraits): EndpointTraits {
    for (const known of this.#recent) if (sameTraits(known, wanted)) return known
    const text = JSON.stringify(plainTraits(wanted))
    let traits = this.#byText.get(text)
    if (traits === undefined) {
      traits = plainTraits(wanted)
      if (this.#byText.size < MAX_TRAITS) this.#byText.set(text, traits)
    }
    this.#recent.push(traits)
    return traits
  }
}
