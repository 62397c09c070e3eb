/** Element operations straight to the kernel, without a process. */
import type { Netfilter } from '../../kernel/netfilter.js'
import type { ElementLoader } from './element-loader.js'
import type { ElementOperation } from './layout-diff.js'

export class NetlinkElementLoader implements ElementLoader {
  readonly #netfilter: Netfilter

  constructor(netfilter: Netfilter) {
    this.#netfilter = netfilter
  }

  load(operations: readonly ElementOperation[]): Promise<void> {
    this.#netfilter.changeElements(
      operations.map(({ op, verdicts, keys, keyLength, ...rest }) => ({
        ...rest,
        verb: op,
        keys,
        keyLength,
        count: keys.length / keyLength,
        ...(verdicts && { chains: verdicts.names, verdicts: verdicts.indexes }),
      })),
    )
    return Promise.resolve()
  }
}
