/**
 * What the iptables mode would load, as text for `iptables-restore --noflush` and, after it, for
 * `ip6tables-restore --noflush`. The canary chains and the rule of KUBE-FIREWALL, which is shared with
 * the kubelet, are made one by one and are not in it.
 */
import { passesInvalid } from '../passes-invalid.js'
import type { RenderRules } from '../running-mode.js'
import { baseJumps } from './base-rules.js'
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
    return `# ${family === 'IPv4' ? 'iptables' : 'ip6tables'}-restore --noflush\n${text}`
  })
  return { text: texts.join(''), warnings: [] }
}
