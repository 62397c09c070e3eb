/**
 * The addresses that are bound so that the kernel takes packets to virtual servers for its own.
 * On kube-ipvs0, a dummy device that is never up, as in kube-proxy; or, where the kernel has no dummy
 * devices, as routes `local VIP dev lo proto 75`, which have the same effect.
 */
import type { IpFamily } from '../../lib/ip-address.js'
import type { RunCommand } from '../../kernel/command.js'
import {
  changeDeviceAddresses,
  ensureDummyDevice,
  listDeviceAddresses,
} from '../../kernel/device-addresses.js'
import { changeLocalRoutes, listLocalRoutes } from '../../kernel/local-route.js'

export const IPVS_DEVICE = 'kube-ipvs0'

export interface VipAddresses {
  /** What is bound. Throws SluiceError ERR_TOOL. */
  list(): Promise<ReadonlySet<string>>
  /** What is so already is fine. Throws SluiceError ERR_TOOL. */
  change(remove: readonly string[], add: readonly string[]): Promise<void>
}

export class DummyDeviceAddresses implements VipAddresses {
  readonly #run: RunCommand
  readonly #family: IpFamily

  constructor(run: RunCommand, family: IpFamily) {
    this.#run = run
    this.#family = family
  }

  async list(): Promise<ReadonlySet<string>> {
    const addresses = await listDeviceAddresses(this.#run, IPVS_DEVICE, this.#family)
    if (addresses === undefined) await ensureDummyDevice(this.#run, IPVS_DEVICE)
    return new Set(addresses)
  }

  change(remove: readonly string[], add: readonly string[]): Promise<void> {
    return changeDeviceAddresses(this.#run, IPVS_DEVICE, { remove, add })
  }
}

export class LocalRouteAddresses implements VipAddresses {
  readonly #run: RunCommand
  readonly #family: IpFamily

  constructor(run: RunCommand, family: IpFamily) {
    this.#run = run
    this.#family = family
  }

  async list(): Promise<ReadonlySet<string>> {
    const routes = await listLocalRoutes(this.#run, this.#family)
    return new Set(routes.map(({ address }) => address))
  }

  change(remove: readonly string[], add: readonly string[]): Promise<void> {
    const route = (address: string) => ({ address, preferredSource: undefined })
    return changeLocalRoutes(this.#run, this.#family, {
      remove: remove.map(route),
      add: add.map(route),
    })
  }
}
