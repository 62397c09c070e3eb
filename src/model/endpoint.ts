/** One ip:port of a Service port with the conditions of its EndpointSlice. Immutable. */
export interface Endpoint {
  /** `10.0.0.1:80` or `[fd00::1]:80`: unique within a Service port, and the sort key. */
  readonly id: string
  /** Canonical text of `addresses[0]`. */
  readonly ip: string
  /** 1..65535 */
  readonly port: number
  /** `nodeName` equals this node's name; a missing nodeName is remote. */
  readonly isLocal: boolean
  /** conditions.ready is nil or true */
  readonly isReady: boolean
  /** conditions.serving is nil or true */
  readonly isServing: boolean
  /** conditions.terminating is true */
  readonly isTerminating: boolean
  /** Its share among the endpoints of the Service port, 0..256; 0: it gets no new connections. */
  readonly weight: number
  /** hints.forZones / hints.forNodes; empty without hints. */
  readonly zoneHints: readonly string[]
  readonly nodeHints: readonly string[]
  readonly nodeName: string | undefined
  readonly zone: string | undefined
  /** `targetRef.name` when it is a Pod: for people, never for decisions. */
  readonly podName: string | undefined
}
