/** Kernel parameters under /proc and /sys, written only when they differ. */
import { readFileSync, writeFileSync } from 'node:fs'

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

/** The file of `net.ipv4.conf.all.route_localnet`. */
export function sysctlPath(key: string): string {
  return `/proc/sys/${key.replaceAll('.', '/')}`
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
