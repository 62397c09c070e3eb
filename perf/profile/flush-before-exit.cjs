// Preloaded into the daemon while clinic looks at it (perf/profile.mjs). CommonJS, because --require is.
//
// - clinic's samplers write their files out at `beforeExit`, which process.exit() skips; the daemon
//   ends by process.exit(), as every command here does. So the first call only announces the end; a
//   sampler that has written calls exit again, and ten seconds later it is called in any case.
// - Worker threads inherit NODE_OPTIONS, and with them a second sampler that writes to the same file.
//   They get none: what clinic shows is the main thread (`npm run perf:record` shows all).
'use strict'
const workerThreads = require('node:worker_threads')
const { syncBuiltinESMExports } = require('node:module')

const FLUSH_MS = 10_000

if (workerThreads.isMainThread) {
  const exit = process.exit.bind(process)
  let isEnding = false
  process.exit = (code) => {
    if (code !== undefined) process.exitCode = code
    if (isEnding) exit()
    isEnding = true
    setTimeout(exit, FLUSH_MS)
    process.emit('beforeExit', process.exitCode ?? 0)
  }

  const { Worker } = workerThreads
  workerThreads.Worker = class extends Worker {
    constructor(file, options = {}) {
      super(file, { ...options, env: { ...process.env, NODE_OPTIONS: '' } })
    }
  }
  syncBuiltinESMExports()
}
