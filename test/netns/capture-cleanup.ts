import t from 'tap'

import { cleanup } from '../../src/cli/cleanup.js'
import type { CapturedVip } from '../../src/datapath/userspace/capture.js'
import { cleanupNode } from '../../src/datapath/cleanup.js'
import { RedirectCapture } from '../../src/datapath/userspace/capture-redirect.js'
import { TproxyCapture } from '../../src/datapath/userspace/capture-tproxy.js'
import { runChecked } from '../../src/kernel/command.js'
import { SluiceError } from '../../src/lib/errors.js'
import { capturedVip as vip, makeLab, planOf, skipNetns } from '../fixtures/netns.js'

t.test('cleanup', { skip: skipNetns }, async (t) => {
  const lab = await makeLab(t)
  const { run } = lab
  await runChecked(run, 'iptables', ['-t', 'nat', '-A', 'PREROUTING', '-j', 'ACCEPT'])
  await runChecked(run, 'ip', ['route', 'add', 'local', '10.96.7.7', 'dev', 'lo'])
  await runChecked(run, 'ipset', ['create', 'SOMEBODY-ELSES', 'hash:ip'])
  const before = await lab.kernelState()
  const removeAll = (command: typeof run) => cleanupNode(command, async () => true)

  async function runCleanup(): Promise<{ status: number; lines: string[] }> {
    const lines: string[] = []
    const write = (text: string): void => {
      lines.push(text.trimEnd())
    }
    return { status: await cleanup({ write }, run, removeAll), lines }
  }

  for (const variant of ['-nft', '-legacy'] as const) {
    t.test(`removes what processes that died have left with iptables${variant}`, async (t) => {
      const listen = { address: '10.71.0.1', port: 4000 }
      const vips: CapturedVip[] = [
        vip('10.96.0.1', { listen }),
        vip('fd96::1', { listen: { address: 'fd71::1', port: 4000 } }),
      ]
      // Never closed, as after SIGKILL.
      await new RedirectCapture(lab.options(variant)).sync(planOf(vips))
      await new TproxyCapture(lab.options(variant)).sync(planOf(vips))
      t.not(await lab.kernelState(), before)
      const { status, lines } = await runCleanup()
      t.equal(status, 0)
      t.equal(await lab.kernelState(), before)
      for (const what of [
        /^removed iptables\S* chain nat\/KUBE-SLUICE-CAPTURE$/,
        /^removed ip6tables\S* chain mangle\/KUBE-SLUICE-DIVERT$/,
        /^removed ipset KUBE-SLUICE-VIP-6$/,
        /^removed ip -4 rule .*fwmark 0x2000\/0x2000/,
        /^removed ip -6 route local default .*1075/,
        /^removed route local 10\.96\.0\.1 dev lo$/,
        /^removed route local fd96::1 dev lo$/,
      ]) {
        t.equal(lines.filter((line) => what.test(line)).length, 1, String(what))
      }
    })
  }

  t.test('says so when there is nothing', async (t) => {
    t.same(await runCleanup(), { status: 0, lines: ['nothing to remove'] })
  })

  t.test('a failure is told, and the rest goes all the same', async (t) => {
    await new RedirectCapture(lab.options()).sync(
      planOf([vip('10.96.0.1', { listen: { address: '10.71.0.1', port: 4000 } })]),
    )
    // Somebody's rule uses one of the sets: it cannot be destroyed.
    const rule = ['-m', 'set', '--match-set', 'KUBE-SLUICE-VIP', 'dst,dst', '-j', 'ACCEPT']
    await runChecked(run, 'iptables', ['-A', 'FORWARD', ...rule])
    const { status, lines } = await runCleanup()
    t.equal(status, 1)
    t.match(lines.join('\n'), /^failed: ipset restore: .*in use/m)
    t.match(lines.join('\n'), /^removed iptables chain nat\/KUBE-SLUICE-CAPTURE$/m)
    await runChecked(run, 'iptables', ['-D', 'FORWARD', ...rule])
    t.equal((await runCleanup()).status, 0)
    t.equal(await lab.kernelState(), before)
  })

  t.test('a tool that is not installed has left nothing', async (t) => {
    const absent: typeof run = (tool, ...rest) =>
      tool === 'ip'
        ? run(tool, ...rest)
        : Promise.reject(new SluiceError('ERR_TOOL', tool, { context: { isMissing: true } }))
    t.same(await cleanupNode(absent, async () => true), { removed: [], problems: [] })
  })
})
