/** One question to the running proxy. */
import { get } from 'node:http'
import { messageOf, SluiceError } from '../lib/errors.js'

const TIMEOUT_MS = 5000

/** What the proxy answers. Throws SluiceError ERR_STATUS_UNREACHABLE. */
export function fetchText(url: URL): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => {
      reject(
        new SluiceError(
          'ERR_STATUS_UNREACHABLE',
          `no proxy answers at ${url.host}: ${messageOf(error)}; is it running, with this --metrics-bind-address?`,
          { cause: error },
        ),
      )
    }
    const request = get(url, { timeout: TIMEOUT_MS, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('end', () => {
        resolve(text)
      })
      response.on('error', fail)
    })
    request.on('timeout', () => request.destroy(new Error('no answer within 5 s')))
    request.on('error', fail)
  })
}
