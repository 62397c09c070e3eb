/** Loads a user's balancer from its file. Done at the start, in every thread that picks. */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { messageOf, SluiceError } from '../lib/errors.js'
import { pluginOf, type BalancerPlugin } from './balancer/plugin.js'

/** @throws SluiceError ERR_PLUGIN: it cannot be loaded, or is no balancer */
export async function loadBalancerPlugin(file: string): Promise<BalancerPlugin> {
  let exports: Readonly<Record<string, unknown>>
  try {
    exports = (await import(pathToFileURL(resolve(file)).href)) as typeof exports
  } catch (error) {
    throw new SluiceError(
      'ERR_PLUGIN',
      `--balancer-plugin ${file}: cannot be loaded: ${messageOf(error)}; it must be an ES module (.mjs)`,
      { cause: error },
    )
  }
  return pluginOf(exports, file)
}
