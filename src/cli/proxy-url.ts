/** Where a command finds the running proxy. */
import type { OptionValues } from '../config/options.js'
import { SluiceError } from '../lib/errors.js'
import { formatAddress } from '../lib/ip-address.js'

/** `--url`, else the metrics address. Throws SluiceError ERR_USAGE when there is neither. */
export function proxyUrl(
  { url, metricsBindAddress: at }: Pick<OptionValues, 'url' | 'metricsBindAddress'>,
  path: string,
): URL {
  const base =
    url?.href ?? (at === undefined ? undefined : `http://${formatAddress(at.address, at.port)}`)
  if (base === undefined) throw new SluiceError('ERR_USAGE', '--url is needed: no address to ask')
  return new URL(path, base)
}
