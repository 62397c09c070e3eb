/**
 * The anyip capture: each VIP that is not an address of the node becomes a local one by a route
 * (`local VIP dev lo`), so that sockets bind to it. No netfilter, no addresses on interfaces.
 *
 *   client -> VIP:80 -> routing: local -> the relay's socket on VIP:80
 *                                      -> nobody on that port: RST or port unreachable
 *
 * Rejecting is the kernel's answer for a local address without a socket; dropping is the business
 * of the relay's socket filter. Owns the routes of ROUTE_PROTOCOL in table local, one for each
 * address. sync and close must not overlap.
 */
import { familyOf, type IpFamily } from '../../lib/ip-address.js'
import { primaryAddress } from '../../kernel/local-address.js'
import { changeLocalRoutes, listLocalRoutes, type LocalRoute } from '../../kernel/local-route.js'
import type { Capture, CapturePlan } from './capture.js'
import { type CaptureOptions, eachFamily, FAMILIES, Verification } from './capture-options.js'

type Routes = ReadonlyMap<string, LocalRoute>

export class AnyipCapture implements Capture {
  readonly name = 'anyip'
  readonly bindsToVip = true
  readonly keepsClientAddress = false
  readonly #options: CaptureOptions
  readonly #verification: Verification
  /** By family, by address. Undefined: ask the kernel. */
  readonly #applied = new Map<IpFamily, Routes>()

  constructor(options: CaptureOptions) {
    this.#options = options
    this.#verification = new Verification(options.clock)
  }

  async sync(plan: CapturePlan): Promise<void> {
    const isVerifying = this.#verification.isDue()
    const wanted = wantedRoutes(plan, this.#options)
    const needs = (family: IpFamily): boolean => (wanted.get(family)?.size ?? 0) > 0
    await eachFamily(
      (family) => this.#syncFamily(family, wanted.get(family) ?? new Map(), isVerifying),
      needs,
      isVerifying ? this.#options.warn : () => undefined,
    )
    if (isVerifying) this.#verification.done()
  }

  async close(): Promise<void> {
    const hadRoutes = new Map(this.#applied)
    this.#verification.reset()
    this.#applied.clear()
    await eachFamily(
      async (family) => {
        await removeLocalRoutes(this.#options, family)
      },
      (family) => (hadRoutes.get(family)?.size ?? 0) > 0,
      () => undefined,
    )
  }

  async #syncFamily(family: IpFamily, wanted: Routes, isVerifying: boolean): Promise<void> {
    const { run } = this.#options
    const known = isVerifying ? undefined : this.#applied.get(family)
    const before = known ?? byAddress(await listLocalRoutes(run, family))
    const isSame = (a: LocalRoute | undefined, b: LocalRoute): boolean =>
      a !== undefined && a.preferredSource === b.preferredSource
    this.#applied.delete(family)
    await changeLocalRoutes(run, family, {
      remove: [...before.values()].filter((route) => !isSame(wanted.get(route.address), route)),
      add: [...wanted.values()].filter((route) => !isSame(before.get(route.address), route)),
    })
    this.#applied.set(family, wanted)
  }
}

/** Removes our routes of a family, whoever made them; returns their addresses. Throws ERR_TOOL. */
export async function removeLocalRoutes(
  { run }: Pick<CaptureOptions, 'run'>,
  family: IpFamily,
): Promise<readonly string[]> {
  const remove = await listLocalRoutes(run, family)
  await changeLocalRoutes(run, family, { remove, add: [] })
  return remove.map(({ address }) => address)
}

function wantedRoutes(
  plan: CapturePlan,
  { localAddresses }: CaptureOptions,
): ReadonlyMap<IpFamily, Routes> {
  const own = localAddresses()
  const ownAddresses = new Set(own.map(({ address }) => address))
  const wanted = [
    ...plan.vips.filter((vip) => !vip.isNodeAddress).map(({ address }) => address),
    ...plan.drainingAddresses,
  ].filter((address) => !ownAddresses.has(address))
  return new Map(
    FAMILIES.map((family) => {
      // Without it the node's own connections to a VIP would come from the VIP itself, and
      // endpoints and source ranges would take the node for somebody else.
      const preferredSource = primaryAddress(own, family)
      const addresses = wanted.filter((address) => familyOf(address) === family)
      return [family, byAddress(addresses.map((address) => ({ address, preferredSource })))]
    }),
  )
}

function byAddress(routes: readonly LocalRoute[]): Routes {
  return new Map(routes.map((route) => [route.address, route]))
}
