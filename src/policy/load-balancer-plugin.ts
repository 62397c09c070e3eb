/** Loads a user's balancer from its file, in every thread that picks: at the start, and when it has changed. */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { messageOf, SluiceError } from '../lib/errors.js'
import { pluginOf, type BalancerPlugin } from './balancer/plugin.js'

/**
 * @param version tells a file that has changed from what was loaded of it before, which Node keeps
 * @throws SluiceError ERR_PLUGIN: it cannot be loaded, or is no balancer
 */
export async function loadBalancerPlugin(file: string, version = 0): Promise<BalancerPlugin> {
  let exports: Readonly<Record<string, unknown>>
  try {
    const { href } = pathToFileURL(resolve(file))
    exports = (await import(version === 0 ? href : `${href}?version=${version}`)) as typeof exports
  } catch (error) {
    throw new SluiceError(
      'ERR_PLUGIN',
      `--balancer-plugin ${file}: cannot be loaded: ${messageOf(error)}; it must be an ES module (.mjs)`,
      { cause: error },
    )
  }
  return pluginOf(exports, file)
}
