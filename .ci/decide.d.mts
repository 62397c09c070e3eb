/** Types of decide.mjs for the tests; setup.mjs itself runs before any compiler is installed. */
export interface SystemPackage {
  readonly name: string
  readonly probe: string
}
export interface LockFile {
  readonly packages: Readonly<
    Record<
      string,
      {
        readonly version?: string
        readonly integrity?: string
        readonly optional?: boolean
        readonly hasInstallScript?: boolean
      }
    >
  >
}
export const OLDEST_NODE: readonly [number, number]
export const TASK_NAMES: readonly string[]
export function taskNamed(
  name: string,
): { readonly packages: readonly SystemPackage[]; readonly build: boolean } | undefined
export function nodeProblem(version: string): string | undefined
export function isDebianLike(osRelease: string): boolean
export function missingPackages(packages: readonly SystemPackage[], dpkgOutput: string): string[]
export function missingTools(
  packages: readonly SystemPackage[],
  isThere: (probe: string) => boolean,
): string[]
export function installAdvice(facts: {
  readonly missing: readonly string[]
  readonly debianLike: boolean
  readonly isRoot: boolean
}): string
export function installReason(facts: {
  readonly lock: LockFile
  readonly installed: LockFile | undefined
  readonly canBuildAddons: boolean
  readonly triedWithCompiler: boolean
}): string | undefined
export function nodeHeadersPrefix(
  prefixes: readonly string[],
  fileExists: (path: string) => boolean,
): string | undefined
export function compareBuild(
  sources: readonly string[],
  outputs: readonly string[],
): { readonly stale: string[]; readonly missing: boolean }
