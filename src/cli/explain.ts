/** `kube-sluice explain`: asks the running proxy, or reads manifests, and prints the answer: docs/explain.md. */
import { loadRunConfig, parseFlags } from '../config/load.js'
import { findConnections } from '../kernel/find-connections.js'
import { SluiceError } from '../lib/errors.js'
import { formatAddress } from '../lib/ip-address.js'
import type { Explanation } from '../observe/explain/explain.js'
import { parseQuestion, type Question } from '../observe/explain/question.js'
import { explainWith } from './explain-context.js'
import { MAX_SHOWN, packetLines } from './explain-packet.js'
import { fetchText } from './fetch-text.js'
import { proxyUrl } from './proxy-url.js'
import { readSnapshot } from './read-snapshot.js'

export interface ExplainOutput {
  readonly write: (text: string) => void
  readonly warn: (message: string) => void
}

/** Throws SluiceError: ERR_USAGE, ERR_MANIFEST, ERR_STATUS_UNREACHABLE. */
export async function explainCommand(
  words: readonly string[],
  { write, warn }: ExplainOutput,
): Promise<number> {
  const [protocol = '', client = '', vip = '', ...flags] = words
  if ([protocol, client, vip].some((word) => word === '' || word.startsWith('-'))) {
    throw new SluiceError(
      'ERR_USAGE',
      'explain needs three words first: PROTO CLIENT-IP[:PORT] VIP:PORT, as: explain tcp 10.0.0.5 10.96.0.10:443',
    )
  }
  const question = parseQuestion(protocol, client, vip)
  const values = parseFlags('explain', flags)
  const explanation =
    values.manifests === undefined
      ? await askProxy(question, proxyUrl(values, '/explain'), values.packet)
      : await fromManifests(question, flags, warn)
  const tracked = values.packet ? findConnections(question, MAX_SHOWN) : undefined
  const isJson = values.output === 'json'
  if (isJson) write(`${JSON.stringify({ ...explanation, tracked })}\n`)
  else write(explanationText(explanation))
  if (!isJson && tracked !== undefined) {
    write(`${packetLines(explanation, tracked).join('\n')}\n`)
  }
  return 0
}

/** The answer in lines. */
export function explanationText({ steps, objects, mode }: Explanation): string {
  const carried = objects.map((line) => `  ${line}`)
  const tail = carried.length === 0 ? [] : [`Carried out by (mode ${mode}):`, ...carried]
  return `${[...steps, ...tail].join('\n')}\n`
}

async function askProxy(question: Question, url: URL, isFollowed: boolean) {
  const { protocol, client, clientPort, address, port } = question
  url.searchParams.set('protocol', protocol)
  url.searchParams.set(
    'client',
    clientPort === undefined ? client : formatAddress(client, clientPort),
  )
  if (isFollowed) url.searchParams.set('packet', '1')
  url.searchParams.set('vip', formatAddress(address, port))
  const text = await fetchText(url)
  if (text.startsWith('{')) return JSON.parse(text) as Explanation
  throw new SluiceError('ERR_STATUS_UNREACHABLE', `${url.host} does not explain: ${text.trim()}`)
}

async function fromManifests(
  question: Question,
  flags: readonly string[],
  warn: (message: string) => void,
): Promise<Explanation> {
  const config = loadRunConfig(flags, 'explain')
  const mode = config.proxyMode
  return explainWith(question, {
    config,
    snapshot: await readSnapshot(config, warn),
    modeOf: () => mode,
  })
}
