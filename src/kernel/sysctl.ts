/** Kernel parameters under /proc and /sys, written only when they differ. */
import { readFileSync, writeFileSync } from 'node:fs'

import { messageOf } from '../lib/errors.js'

/** Where the files are; a test gives a folder of its own. */
export interface KernelFiles {
  read(path: string): string
  write(path: string, text: string): void
}

export const kernelFiles: KernelFiles = {
  read: (path) => readFileSync(path, 'utf8').trim(),
  write: (path, text) => {
    writeFileSync(path, text)
  },
}

/** Told of what is written, with what it was before. */
export interface ParameterLog {
  info(context: object, message: string): void
  warn(message: string): void
}

/** Where sysctls are, unless --sysctl-root says otherwise. */
export const SYSCTL_ROOT = '/proc/sys'

/**
 * The file of a key such as `net.ipv4.conf.all.route_localnet`.
 * @param root another mount of /proc/sys: that of a container cannot be written
 */
export function sysctlPath(key: string, root: string = SYSCTL_ROOT): string {
  return `${root}/${key.replaceAll('.', '/')}`
}

/**
 * Lets connections from this node's loopback addresses be translated to other hosts (kube-proxy sets
 * the same for node ports on localhost). Where it cannot be written those node ports do not work from
 * there, and the log has a warning, once; nothing else depends on it.
 */
export function loopbackRouter(
  root: string,
  log: ParameterLog,
  files: KernelFiles = kernelFiles,
): () => void {
  let isTried = false
  return () => {
    if (isTried) return
    isTried = true
    const key = 'net.ipv4.conf.all.route_localnet'
    try {
      ensureLogged(log, key, { files, root, value: '1' })
    } catch (error) {
      log.warn(
        `node ports do not work from 127.0.0.1: ${key} cannot be set to 1 (${messageOf(error)}); ` +
          'set it on the node, or mount its /proc/sys/net and name it with --sysctl-root',
      )
    }
  }
}

/** Gives a key that value; what it was before is logged. Throws what the file system throws. */
export function ensureLogged(
  log: Pick<ParameterLog, 'info'>,
  key: string,
  {
    files,
    root,
    value,
  }: { readonly files: KernelFiles; readonly root: string; readonly value: string },
): void {
  const { before, isWritten } = ensureKernelValue(files, sysctlPath(key, root), value)
  if (isWritten) log.info({ name: key, before, value }, `${key} is ${value} now, was ${before}`)
}

/**
 * Gives the file that value, unless `isEnough` says that what it has will do.
 * @returns what it was before, and whether it was written. Throws what the file system throws.
 */
export function ensureKernelValue(
  files: KernelFiles,
  path: string,
  value: string,
  isEnough: (before: string) => boolean = (before) => before === value,
): { readonly before: string; readonly isWritten: boolean } {
  const before = files.read(path)
  if (isEnough(before)) return { before, isWritten: false }
  files.write(path, value)
  return { before, isWritten: true }
}
