/**
 * What the iptables mode would load, as text for `iptables-restore --noflush` and, after it, for
 * `ip6tables-restore --noflush`, with the canary chains. The chain KUBE-FIREWALL is the kubelet's too:
 * a restore would empty it, so the commands for it stand before the text, as a comment.
 */
import { iptablesTool } from '../../kernel/iptables.js'
import { passesInvalid } from '../passes-invalid.js'
import type { RenderRules } from '../running-mode.js'
import { baseJumps, canaryText, KUBELET_CHAIN, loopbackGuard } from './base-rules.js'
import { restoreText, type TablePlan } from './restore-text.js'
import { rulesetOptions } from './ruleset-options.js'
import { fullPlan, rulesetOf } from './ruleset.js'

export const renderIptables: RenderRules = (snapshot, config, localAddresses) => {
  const texts = (['IPv4', 'IPv6'] as const).map((family) => {
    const facts = { node: snapshot.node, localAddresses, passesInvalid: passesInvalid() }
    const ruleset = rulesetOf(snapshot, rulesetOptions(family, config, facts))
    const { filter, nat } = fullPlan(ruleset)
    const jumps = baseJumps(ruleset.options)
    const withJumps = (table: 'filter' | 'nat', plan: TablePlan): TablePlan => ({
      ...plan,
      jumps: jumps.filter((jump) => jump.table === table),
    })
    const text = restoreText({
      filter: withJumps('filter', filter),
      nat: withJumps('nat', nat),
    })
    const tool = iptablesTool(family, '')
    const guard = loopbackGuard(ruleset.options)
    return [
      ...(guard === undefined ? [] : guardLines(tool, guard)),
      `# ${tool}-restore --noflush\n`,
      canaryText(),
      text,
    ].join('')
  })
  return { text: texts.join(''), warnings: [] }
}

function guardLines(tool: string, guard: string): readonly string[] {
  const chain = `# ${tool} -t filter`
  return [`${chain} -N ${KUBELET_CHAIN}\n`, `${chain} -A ${KUBELET_CHAIN} ${guard}\n`]
}
