/** Which endpoints are ejected now, as the modes that decide per connection report it: for people. */
import type { Endpoint } from '../../model/endpoint.js'

export class Ejections {
  readonly #byPort = new Map<string, Map<string, Date>>()
  #size = 0
  /** Since the start. */
  count = 0

  get size(): number {
    return this.#size
  }

  /** `since` undefined: it is used again. False when that was known. */
  set(servicePortId: string, endpointId: string, since: Date | undefined): boolean {
    const known = this.#byPort.get(servicePortId)
    const isKnown = known?.has(endpointId) === true
    if (isKnown === (since !== undefined)) return false
    if (since === undefined) {
      known?.delete(endpointId)
      if (known?.size === 0) this.#byPort.delete(servicePortId)
      this.#size--
      return true
    }
    if (known === undefined) this.#byPort.set(servicePortId, new Map([[endpointId, since]]))
    else known.set(endpointId, since)
    this.#size++
    this.count++
    return true
  }

  since(servicePortId: string, endpointId: string): Date | undefined {
    return this.#byPort.get(servicePortId)?.get(endpointId)
  }

  /** Forgets endpoints that have gone. */
  retain(servicePortId: string, endpoints: readonly Endpoint[]): void {
    const known = this.#byPort.get(servicePortId)
    if (known === undefined) return
    const ids = new Set(endpoints.map(({ id }) => id))
    for (const id of [...known.keys()]) if (!ids.has(id)) this.set(servicePortId, id, undefined)
  }
}
