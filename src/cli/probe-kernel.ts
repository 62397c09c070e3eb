/**
 * What a configured mode wants to know of the kernel. A start asks early: the tools that find it out
 * run while the rest of the program is loaded.
 */
import type { RunConfig } from '../config/run-config.js'
import { needsOf } from '../datapath/mode-needs.js'
import { commandRunner } from '../kernel/command.js'
import { type KernelCapabilities, probeCapabilities } from '../kernel/probe-capability.js'

/** It never rejects: what fails is a result. */
export type ProbedKernel = Promise<KernelCapabilities>

export function probeKernel({ proxyMode }: Pick<RunConfig, 'proxyMode'>): ProbedKernel {
  // These two choose by what they find; the others need what they need.
  const asksAll = proxyMode === 'auto' || proxyMode === 'userspace'
  return probeCapabilities(commandRunner(), asksAll ? undefined : needsOf(proxyMode))
}
