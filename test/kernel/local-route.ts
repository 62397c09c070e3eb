import t from 'tap'

import type { CommandResult } from '../../src/kernel/command.js'
import { changeLocalRoutes, listLocalRoutes } from '../../src/kernel/local-route.js'

const one = { address: '10.96.0.1', preferredSource: '192.0.2.7' }
const two = { address: '10.96.0.2', preferredSource: undefined }

function answering(result: Partial<CommandResult>) {
  const inputs: string[] = []
  return {
    inputs,
    run: async (_tool: string, _args: readonly string[], input = '') => {
      inputs.push(input)
      return { status: 0, stdout: '', stderr: '', ...result }
    },
  }
}

t.test('a change is one batch, removals first', async (t) => {
  const { run, inputs } = answering({})
  await changeLocalRoutes(run, 'IPv4', { remove: [two], add: [one] })
  t.same(inputs, [
    'route del local 10.96.0.2 dev lo table local proto 75\n' +
      'route add local 10.96.0.1 dev lo table local proto 75 src 192.0.2.7\n',
  ])
})

t.test('no change runs nothing', async (t) => {
  const { run, inputs } = answering({})
  await changeLocalRoutes(run, 'IPv4', { remove: [], add: [] })
  t.same(inputs, [])
})

t.test('what is there already, or gone already, is fine', async (t) => {
  const stderr =
    'RTNETLINK answers: No such process\nCommand failed -:1\n' +
    'RTNETLINK answers: File exists\nCommand failed -:2\n'
  const { run } = answering({ status: 1, stderr })
  await t.resolves(changeLocalRoutes(run, 'IPv4', { remove: [two], add: [one] }))
})

t.test('a real failure names the line that failed', async (t) => {
  const stderr =
    'RTNETLINK answers: No such process\nCommand failed -:1\n' +
    'Error: Invalid prefsrc address.\nCommand failed -:2\n'
  const { run } = answering({ status: 1, stderr })
  await t.rejects(changeLocalRoutes(run, 'IPv4', { remove: [two], add: [one] }), {
    code: 'ERR_TOOL',
    message: /^ip -4 route add local 10\.96\.0\.1 .*: exit 1: Error: Invalid prefsrc address\.$/,
  })
})

t.test('a batch that fails as a whole is a failure', async (t) => {
  const { run } = answering({ status: 255, stderr: 'Option "-force" is unknown\n' })
  await t.rejects(changeLocalRoutes(run, 'IPv4', { remove: [], add: [one] }), {
    message: /Option "-force" is unknown/,
  })
})

t.test('a namespace that has no table local yet has no routes', async (t) => {
  const stderr = 'Error: ipv4: FIB table does not exist.\nDump terminated\n'
  t.same(await listLocalRoutes(answering({ status: 2, stderr }).run, 'IPv4'), [])
  const denied = answering({ status: 2, stderr: 'RTNETLINK answers: Operation not permitted' })
  await t.rejects(listLocalRoutes(denied.run, 'IPv4'), { code: 'ERR_TOOL' })
})

t.test('routes of other devices and types with our number are not ours', async (t) => {
  const stdout = JSON.stringify([
    { type: 'local', dst: '::1.2.3.4', dev: 'lo', prefsrc: '2001:db8::7' },
    { type: 'local', dst: 'fd00::1', dev: 'eth0' },
    { type: 'blackhole', dst: 'fd00::2', dev: 'lo' },
  ])
  t.same(await listLocalRoutes(answering({ stdout }).run, 'IPv6'), [
    { address: '::102:304', preferredSource: '2001:db8::7' },
  ])
})
