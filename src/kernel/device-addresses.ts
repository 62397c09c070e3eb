/**
 * The addresses of one network device, as host addresses (/32, /128), and the dummy device that
 * holds them.
 */
import { hostRange, type IpFamily, parseIpAddress } from '../lib/ip-address.js'
import { commandFailure, type RunCommand } from './command.js'

export interface AddressChange {
  readonly remove: readonly string[]
  readonly add: readonly string[]
}

/** What makes a dummy device: words for ip(8). It is down then. */
export function dummyDeviceArgs(device: string): readonly string[] {
  return ['link', 'add', device, 'type', 'dummy']
}

/** Makes the dummy device when there is no device of that name; leaves it down. Throws ERR_TOOL. */
export async function ensureDummyDevice(run: RunCommand, device: string): Promise<void> {
  const args = dummyDeviceArgs(device)
  const result = await run('ip', args)
  if (result.status !== 0 && !/File exists/.test(result.stderr)) {
    throw commandFailure('ip', args, result)
  }
}

/** Removes the device with its addresses; whether there was one. Throws ERR_TOOL. */
export async function removeDevice(run: RunCommand, device: string): Promise<boolean> {
  const args = ['link', 'del', device]
  const result = await run('ip', args)
  if (result.status === 0) return true
  if (/Cannot find device/.test(result.stderr)) return false
  throw commandFailure('ip', args, result)
}

/** Addresses of the device, canonical, link-local ones left out; undefined without such a device. */
export async function listDeviceAddresses(
  run: RunCommand,
  device: string,
  family: IpFamily,
): Promise<readonly string[] | undefined> {
  const args = [flag(family), '-json', 'addr', 'show', 'dev', device]
  const { status, stdout, stderr } = await run('ip', args)
  if (status !== 0 && /does not exist/.test(stderr)) return undefined
  if (status !== 0) throw commandFailure('ip', args, { status, stdout, stderr })
  const devices = stdout.trim() === '' ? [] : (JSON.parse(stdout) as readonly DeviceJson[])
  return devices
    .flatMap(({ addr_info: addresses = [] }) => addresses)
    .filter(({ scope }) => scope !== 'link')
    .map(({ local }) => parseIpAddress(local ?? ''))
    .filter((address) => address !== undefined)
}

/** Lines for `ip -batch` that remove and add addresses. */
export function deviceAddressLines(device: string, change: AddressChange): string[] {
  return [
    ...change.remove.map((address) => `addr del ${hostRange(address).text} dev ${device}`),
    // `replace` is silent about an address that is there.
    ...change.add.map(
      (address) => `addr replace ${hostRange(address).text} dev ${device}${noDad(address)}`,
    ),
  ]
}

/**
 * Removes and adds addresses in one run of `ip -batch`. Those that are gone or there already are
 * fine. Throws SluiceError ERR_TOOL.
 */
export async function changeDeviceAddresses(
  run: RunCommand,
  device: string,
  change: AddressChange,
): Promise<void> {
  const lines = deviceAddressLines(device, change)
  if (lines.length === 0) return
  const args = ['-force', '-batch', '-']
  const result = await run('ip', args, `${lines.join('\n')}\n`)
  const failures = result.stderr
    .split('\n')
    .filter((line) => line !== '' && !/Cannot assign requested address|^Command failed/.test(line))
  if (result.status !== 0 && failures.length > 0) {
    throw commandFailure('ip', args, { ...result, stderr: failures.join('\n') })
  }
}

interface DeviceJson {
  readonly addr_info?: readonly { readonly local?: string; readonly scope?: string }[]
}

/** Without duplicate address detection: the address is to serve at once. */
function noDad(address: string): string {
  return address.includes(':') ? ' nodad' : ''
}

function flag(family: IpFamily): string {
  return family === 'IPv4' ? '-4' : '-6'
}
