/** Makes the errors of the native addon the program's own. */
import { KernelError } from '../lib/errors.js'

/**
 * Calls into the addon; what the kernel refused becomes a KernelError that says during which
 * operation. Anything else that is thrown is a mistake of ours and passes as it is.
 */
export function kernelCall<T>(operation: string, call: () => T): T {
  try {
    return call()
  } catch (error) {
    if (!isSystemError(error)) throw error
    const { code, syscall, message } = error
    throw new KernelError(`${operation}: ${syscall}`, code, message, { cause: error })
  }
}

function isSystemError(error: unknown): error is Error & { code: string; syscall: string } {
  return error instanceof Error && 'syscall' in error && 'code' in error
}
