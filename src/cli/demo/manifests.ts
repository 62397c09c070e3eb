/**
 * The demo's copy of deploy/examples, in a folder of its own: what the proxy reads, and what the
 * demo edits when a pod comes back with another address. Comments of the examples survive.
 * Every write is a rename, so the proxy never reads half a file.
 */
import { readFile, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Document, isMap, isSeq, parseAllDocuments } from 'yaml'
import { messageOf, SluiceError } from '../../lib/errors.js'
import type { PodPlan } from './topology.js'

const EXAMPLES = fileURLToPath(new URL('../../../deploy/examples/', import.meta.url))
const SERVICES = 'services.yaml'
const ENDPOINT_SLICES = 'endpointslices.yaml'
const NODE_FILE = 'node.yaml'

/** Writes the copies into `folder`; without IPv6, only what a kernel without it can serve. Throws SluiceError. */
export async function copyExamples(folder: string, withIpv6: boolean): Promise<void> {
  const services = await readDocuments(EXAMPLES, SERVICES)
  const slices = await readDocuments(EXAMPLES, ENDPOINT_SLICES)
  if (!withIpv6) services.forEach(makeSingleStack)
  const kept = slices.filter((slice) => withIpv6 || slice.getIn(['addressType']) !== 'IPv6')
  await writeDocuments(folder, SERVICES, services)
  await writeDocuments(folder, ENDPOINT_SLICES, kept)
  await writeDocuments(folder, NODE_FILE, await readDocuments(EXAMPLES, NODE_FILE))
}

/** Gives the endpoints of these pods their second addresses, all in one write. Throws SluiceError. */
export async function moveEndpoints(folder: string, pods: readonly PodPlan[]): Promise<void> {
  const slices = await readDocuments(folder, ENDPOINT_SLICES)
  for (const slice of slices) {
    const isIpv6 = slice.getIn(['addressType']) === 'IPv6'
    const endpoints = slice.getIn(['endpoints'])
    if (!isSeq(endpoints)) continue
    for (const endpoint of endpoints.items) {
      if (!isMap(endpoint)) continue
      const pod = pods.find(({ name }) => name === endpoint.getIn(['targetRef', 'name']))
      const address = isIpv6 ? pod?.second.ipv6 : pod?.second.ipv4
      if (address !== undefined) endpoint.setIn(['addresses', 0], address)
    }
  }
  await writeDocuments(folder, ENDPOINT_SLICES, slices)
}

function makeSingleStack(service: Document): void {
  const clusterIp = service.getIn(['spec', 'clusterIP'])
  service.setIn(['spec', 'clusterIPs'], [clusterIp])
  service.setIn(['spec', 'ipFamilies'], ['IPv4'])
  service.setIn(['spec', 'ipFamilyPolicy'], 'SingleStack')
}

async function readDocuments(folder: string, file: string): Promise<readonly Document[]> {
  const full = path.join(folder, file)
  try {
    const documents = parseAllDocuments(await readFile(full, 'utf8'))
    const problem = documents.flatMap(({ errors }) => errors)[0]
    if (problem !== undefined) throw problem
    return [...documents]
  } catch (error) {
    throw new SluiceError('ERR_MANIFEST', `${full}: ${firstLine(messageOf(error))}`, {
      cause: error,
    })
  }
}

async function writeDocuments(
  folder: string,
  file: string,
  documents: readonly Document[],
): Promise<void> {
  const full = path.join(folder, file)
  // Neither .yaml nor .json: a source that reads the folder now does not take it.
  const draft = path.join(folder, `.${file}.draft`)
  const text = documents.map((document) => document.toString({ directives: false }))
  await writeFile(draft, text.join('---\n'))
  await rename(draft, full)
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? text
}
