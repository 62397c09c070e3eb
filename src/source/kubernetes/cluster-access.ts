/**
 * Where the API server is and as whom it is spoken to. What can change under a running process
 * (tokens, client certificates, what an exec plugin gives) is read anew for each request.
 *
 * The kubeconfig is taken apart by @kubernetes/client-node, of which only single files are imported:
 * as a whole it costs 75 MB of memory, these cost 4. The rest, which follows client-go's rules, is here:
 * tokenFile, paths relative to the file, `--master`.
 */
import { existsSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Cluster, User } from '@kubernetes/client-node/dist/config_types.js'
import { yaml } from '../../lib/yaml.js'
import { messageOf, SluiceError } from '../../lib/errors.js'
import { pluginCredentials, type Plugin } from './auth-plugin.js'

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'

/** What one request carries. */
export interface Credentials {
  readonly headers: Readonly<Record<string, string>>
  readonly cert: string | Buffer | undefined
  readonly key: string | Buffer | undefined
  readonly ca: string | Buffer | undefined
}

export interface ClusterAccess {
  /** Base address; may have a path. */
  readonly server: URL
  /** Name in the server's certificate, when it is not that of the address. */
  readonly serverName: string | undefined
  readonly isInsecure: boolean
  /** Reads what may have changed. Throws SluiceError ERR_API when it cannot be read. */
  credentials(): Promise<Credentials>
  /** The server answered 401: what was remembered is not used again. */
  rejected(): void
}

export interface AccessOptions {
  /** undefined: the service account of the Pod. */
  readonly kubeconfig: string | undefined
  /** Address in place of the one in the file, or of the Pod's environment. */
  readonly master: string | undefined
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly serviceAccountFolder?: string
}

/** Reads the configuration. Throws SluiceError ERR_CONFIG when it is not usable. */
export async function clusterAccess(options: AccessOptions): Promise<ClusterAccess> {
  return options.kubeconfig === undefined
    ? inCluster(options)
    : fromKubeconfig(options.kubeconfig, options.master)
}

function inCluster(options: AccessOptions): ClusterAccess {
  const folder = options.serviceAccountFolder ?? SERVICE_ACCOUNT
  const env = options.env ?? process.env
  const host = env['KUBERNETES_SERVICE_HOST']
  const port = env['KUBERNETES_SERVICE_PORT'] ?? '443'
  const address =
    options.master ??
    (host === undefined ? undefined : `https://${host.includes(':') ? `[${host}]` : host}:${port}`)
  if (address === undefined) {
    throw new SluiceError(
      'ERR_CONFIG',
      'no --manifests, no --kubeconfig, and this is no Pod (KUBERNETES_SERVICE_HOST is not set): name one of them',
    )
  }
  // client-go takes --master alone for a server that asks for nothing; so it is outside of a Pod.
  const isAnonymous = options.master !== undefined && !existsSync(join(folder, 'token'))
  return {
    server: serverUrl(address, '--master'),
    serverName: undefined,
    isInsecure: false,
    credentials: async () => ({
      headers: isAnonymous ? {} : bearer(await read(join(folder, 'token'))),
      ca: isAnonymous ? undefined : await read(join(folder, 'ca.crt')),
      cert: undefined,
      key: undefined,
    }),
    rejected: () => undefined,
  }
}

interface RawUser {
  readonly name?: unknown
  readonly user?: { readonly tokenFile?: unknown } | null
}

/** The context's parts of a kubeconfig file. */
interface Entry {
  readonly folder: string
  readonly cluster: Cluster
  readonly user: User | undefined
  readonly tokenFile: string | undefined
}

async function fromKubeconfig(file: string, master: string | undefined): Promise<ClusterAccess> {
  const { folder, cluster, user, tokenFile } = await readEntry(file)
  if (cluster.proxyUrl !== undefined) {
    throw new SluiceError(
      'ERR_CONFIG',
      `${file}: proxy-url of cluster ${cluster.name}: is not supported; reach the API server directly`,
    )
  }
  const path = (name: string): string => (name.startsWith('/') ? name : join(folder, name))
  const fileOrData = async (
    name: string | undefined | null,
    data: string | undefined | null,
  ): Promise<Buffer | string | undefined> => {
    if (typeof data === 'string' && data !== '') return Buffer.from(data, 'base64')
    return typeof name === 'string' && name !== '' ? read(path(name)) : undefined
  }
  const server = serverUrl(master ?? cluster.server, master === undefined ? file : '--master')
  const plugin = await pluginOf(file, folder, user, cluster)
  return {
    server,
    serverName: cluster.tlsServerName,
    isInsecure: cluster.skipTLSVerify,
    credentials: async () => {
      const given = await plugin?.credentials()
      return {
        headers: {
          ...identityHeaders(user),
          ...(tokenFile === undefined ? {} : bearer(await read(path(tokenFile)))),
          ...given?.headers,
        },
        ca: await fileOrData(cluster.caFile, cluster.caData),
        cert: given?.cert ?? (await fileOrData(user?.certFile, user?.certData)),
        key: given?.key ?? (await fileOrData(user?.keyFile, user?.keyData)),
      }
    },
    rejected: () => plugin?.rejected(),
  }
}

async function readEntry(file: string): Promise<Entry> {
  const { newClusters, newContexts, newUsers } =
    await import('@kubernetes/client-node/dist/config_types.js')
  try {
    const raw = yaml().parse(readFileSync(file, 'utf8')) as Readonly<Record<string, unknown>> | null
    const current = raw?.['current-context']
    const context = newContexts(raw?.['contexts']).find(({ name }) => name === current)
    if (context === undefined) {
      throw new Error(`current-context: there is no context ${JSON.stringify(current ?? '')}`)
    }
    const cluster = newClusters(raw?.['clusters']).find(({ name }) => name === context.cluster)
    if (cluster === undefined) throw new Error(`there is no cluster "${context.cluster}"`)
    const users = raw?.['users']
    const user = newUsers(users).find(({ name }) => name === context.user)
    const rawUsers = Array.isArray(users) ? (users as readonly RawUser[]) : []
    const tokenFile = rawUsers.find(({ name }) => name === context.user)?.user?.tokenFile
    return {
      folder: dirname(file),
      cluster,
      user,
      tokenFile: typeof tokenFile === 'string' && tokenFile !== '' ? tokenFile : undefined,
    }
  } catch (error) {
    throw new SluiceError('ERR_CONFIG', `kubeconfig ${file}: ${messageOf(error)}`, { cause: error })
  }
}

async function pluginOf(
  file: string,
  folder: string,
  user: User | undefined,
  cluster: Cluster,
): Promise<Plugin | undefined> {
  try {
    return user === undefined ? undefined : await pluginCredentials(user, folder, cluster)
  } catch (error) {
    throw new SluiceError('ERR_CONFIG', `kubeconfig ${file}: ${messageOf(error)}`, { cause: error })
  }
}

/** Fixed token, name and password, impersonation. */
function identityHeaders(user: User | undefined): Record<string, string> {
  const headers: Record<string, string> = {}
  if (user === undefined) return headers
  if (typeof user.token === 'string') Object.assign(headers, bearer(user.token))
  if (typeof user.username === 'string') {
    const text = `${user.username}:${user.password ?? ''}`
    headers['Authorization'] = `Basic ${Buffer.from(text).toString('base64')}`
  }
  if (typeof user.impersonateUser === 'string') headers['Impersonate-User'] = user.impersonateUser
  return headers
}

/** A file ends with a newline more often than not, which no header may have. */
function bearer(token: string): Record<string, string> {
  return { Authorization: `Bearer ${token.trim()}` }
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new SluiceError('ERR_API', `credentials cannot be read: ${messageOf(error)}`, {
      cause: error,
    })
  }
}

/** As client-go takes it: a bare host or host:port is http. */
function serverUrl(text: string, where: string): URL {
  const url = URL.canParse(text) && /^https?:\/\//.test(text) ? text : `http://${text}`
  if (!URL.canParse(url)) {
    throw new SluiceError('ERR_CONFIG', `${where}: "${text}" is no address of an API server`)
  }
  return new URL(url)
}
