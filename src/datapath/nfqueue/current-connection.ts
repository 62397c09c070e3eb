/** The connection that is being steered, as an EndpointPicker wants it. */
import { hashCodesBits } from '../../lib/hash.js'
import type { SourceKind, VipKind } from '../../model/vip.js'
import { AddressText } from '../../packet/address-text.js'
import { formatAddressWords } from '../../packet/address-words.js'
import type { NewConnection } from '../../policy/endpoint-picker.js'

/** The connection at hand, for the picker: one object for all, read and never kept. */
export class CurrentConnection implements NewConnection {
  servicePortId = ''
  kind: VipKind = 'cluster-ip'
  source: SourceKind = 'other'
  clientPort = 0
  words: Uint32Array = new Uint32Array()
  at = 0
  family = 4
  readonly #text = new AddressText()

  hashClientIp(seed: number): number {
    const text = this.#text
    text.write(this.words, this.at, this.family)
    return hashCodesBits(text.codes, text.length, seed)
  }

  /** Made only for session affinities. */
  get clientIp(): string {
    return formatAddressWords(this.words, this.at, this.family)
  }
}
