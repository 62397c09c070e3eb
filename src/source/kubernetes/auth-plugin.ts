/**
 * Credentials that a kubeconfig has from elsewhere: an exec plugin, run by @kubernetes/client-node, or an
 * OpenID Connect token, which is not renewed. Around the exec: the paths of commands as client-go resolves them,
 * KUBERNETES_EXEC_INFO, a bound on how long a plugin may take, and no run for each request.
 */
import { spawn, type SpawnOptions } from 'node:child_process'
import type { RequestOptions } from 'node:https'
import { join } from 'node:path'
import type { Cluster, User } from '@kubernetes/client-node/dist/config_types.js'
import { messageOf, SluiceError } from '../../lib/errors.js'

/** A plugin that hangs must not stop the retries. */
const PLUGIN_TIMEOUT_MS = 30_000
/** Credentials without an expiry are asked for again after this; a 401 asks at once. */
const NO_EXPIRY_MS = 60_000
/** Asked for again this long before they expire. */
const EXPIRY_MARGIN_MS = 10_000

export interface PluginCredentials {
  readonly headers: Readonly<Record<string, string>>
  readonly cert: string | undefined
  readonly key: string | undefined
}

export interface Plugin {
  /** Throws SluiceError ERR_API when the plugin fails. */
  credentials(): Promise<PluginCredentials>
  rejected(): void
}

interface ExecSettings {
  readonly apiVersion?: unknown
  readonly command?: unknown
  readonly args?: unknown
  readonly env?: unknown
  readonly provideClusterInfo?: unknown
}

/** The plugin that a user of a kubeconfig names, or undefined. Throws when it is of a kind that is not known. */
export async function pluginCredentials(
  user: User,
  folder: string,
  cluster: Cluster,
): Promise<Plugin | undefined> {
  if (isRecord(user.exec)) return execPlugin(user, user.exec, folder, cluster)
  const provider: unknown = user.authProvider
  if (!isRecord(provider)) return undefined
  if (provider['name'] !== 'oidc') {
    throw new Error(
      `user ${user.name}: auth-provider "${String(provider['name'])}" is not known; use an exec plugin`,
    )
  }
  return oidcToken(user.name, provider['config'])
}

const OIDC_REMEDY = 'it is not renewed here: use an exec plugin, or a token of a ServiceAccount'

/** client-node's own renewal fails on Node 20, and without a token it asks as nobody. */
function oidcToken(userName: string, config: unknown): Plugin {
  const token: unknown = isRecord(config) ? config['id-token'] : undefined
  const expiresAtMs = typeof token === 'string' ? expiryOf(token) : undefined
  if (typeof token !== 'string' || expiresAtMs === undefined) {
    const text = `user ${userName}: auth-provider oidc has no id-token that can be read; ${OIDC_REMEDY}`
    throw new Error(text)
  }
  return {
    credentials: () =>
      Date.now() < expiresAtMs
        ? Promise.resolve({
            headers: { Authorization: `Bearer ${token}` },
            cert: undefined,
            key: undefined,
          })
        : Promise.reject(
            new SluiceError(
              'ERR_API',
              `user ${userName}: the id-token of auth-provider oidc has expired; ${OIDC_REMEDY}`,
            ),
          ),
    rejected: () => undefined,
  }
}

/** `exp` of a JSON Web Token (RFC 7519), undefined when it is none. */
function expiryOf(token: string): number | undefined {
  try {
    const claims: unknown = JSON.parse(
      Buffer.from(token.split('.')[1] ?? '', 'base64url').toString(),
    )
    const exp = isRecord(claims) ? claims['exp'] : undefined
    return typeof exp === 'number' ? exp * 1000 : undefined
  } catch {
    return undefined
  }
}

async function execPlugin(
  user: User,
  exec: ExecSettings,
  folder: string,
  cluster: Cluster,
): Promise<Plugin> {
  const { ExecAuth } = await import('@kubernetes/client-node/dist/exec_auth.js')
  const { command } = exec
  if (typeof command !== 'string' || command === '') {
    throw new Error(`user ${user.name}: exec.command is missing`)
  }
  const resolved =
    command.includes('/') && !command.startsWith('/') ? join(folder, command) : command
  // client-node sets the environment of the child only when there are entries.
  const env = [
    ...(Array.isArray(exec.env) ? (exec.env as readonly object[]) : []),
    { name: 'KUBERNETES_EXEC_INFO', value: execInfo(exec, cluster) },
  ]
  const asked: User = { ...user, exec: { ...exec, command: resolved, env } }
  let known: PluginCredentials | undefined
  let asking: Promise<PluginCredentials> | undefined
  let untilMs = 0
  const run = async (): Promise<PluginCredentials> => {
    // A new one each time: it keeps what it was given for as long as it does not expire.
    const auth = new ExecAuth()
    let expiresAtMs = NaN
    Object.assign(auth, { execFn: spawnBounded((expiry) => (expiresAtMs = expiry)) })
    known = await ask(`exec ${command}`, (options) => auth.applyAuthentication(asked, options))
    untilMs = Number.isNaN(expiresAtMs) ? Date.now() + NO_EXPIRY_MS : expiresAtMs - EXPIRY_MARGIN_MS
    return known
  }
  return {
    credentials: () => {
      if (known !== undefined && Date.now() < untilMs) return Promise.resolve(known)
      // Several requests at once wait for one run.
      asking ??= run().finally(() => {
        asking = undefined
      })
      return asking
    },
    rejected: () => {
      known = undefined
    },
  }
}

/** spawn with a bound in time that also notes when the credentials in its output expire. */
function spawnBounded(onExpiry: (expiresAtMs: number) => void) {
  return (command: string, args: readonly string[] | undefined, options: SpawnOptions) => {
    const child = spawn(command, args ?? [], {
      ...options,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: PLUGIN_TIMEOUT_MS,
      killSignal: 'SIGKILL',
    })
    let output = ''
    child.stdout.on('data', (chunk: unknown) => (output += String(chunk)))
    child.stdout.on('end', () => {
      const found = /"expirationTimestamp"\s*:\s*"([^"]*)"/.exec(output)
      onExpiry(Date.parse(found?.[1] ?? ''))
    })
    return child
  }
}

/** Calls an authenticator of client-node, which writes into the options of a request. */
async function ask(
  what: string,
  apply: (options: RequestOptions) => Promise<void>,
): Promise<PluginCredentials> {
  const options: RequestOptions & { headers: Record<string, string> } = { headers: {} }
  try {
    await apply(options)
  } catch (error) {
    const [line = ''] = messageOf(error).trim().split('\n')
    throw new SluiceError('ERR_API', `${what} gave no credentials: ${line}`, { cause: error })
  }
  const { cert, key } = options
  return {
    headers: options.headers,
    cert: typeof cert === 'string' ? cert : undefined,
    key: typeof key === 'string' ? key : undefined,
  }
}

/** What client-go tells a plugin (client.authentication.k8s.io ExecCredential). */
function execInfo(exec: ExecSettings, cluster: Cluster): string {
  return JSON.stringify({
    apiVersion: exec.apiVersion ?? 'client.authentication.k8s.io/v1',
    kind: 'ExecCredential',
    spec: {
      interactive: false,
      ...(exec.provideClusterInfo === true
        ? {
            cluster: {
              server: cluster.server,
              'certificate-authority-data': cluster.caData,
              'tls-server-name': cluster.tlsServerName,
              'insecure-skip-tls-verify': cluster.skipTLSVerify,
            },
          }
        : {}),
    },
  })
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
