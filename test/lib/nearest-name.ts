import t from 'tap'
import { nearestName } from '../../src/lib/nearest-name.js'

const NAMES = ['run', 'check', 'status', 'demo', 'cleanup', 'proxy-mode', 'masquerade-all']

t.test('a slip of the fingers finds the name that was meant', async (t) => {
  const cases = [
    { name: 'a letter too few', typed: 'statu', expected: 'status' },
    { name: 'a letter too many', typed: 'demoo', expected: 'demo' },
    { name: 'two letters swapped', typed: 'rnu', expected: 'run' },
    { name: 'a wrong letter', typed: 'cherk', expected: 'check' },
    { name: 'an underscore for a dash', typed: 'proxy_mode', expected: 'proxy-mode' },
    { name: 'several slips in a long name', typed: 'maskerade-al', expected: 'masquerade-all' },
    { name: 'the name itself', typed: 'run', expected: 'run' },
    { name: 'the nearer of two', typed: 'statuss', expected: 'status' },
    { name: 'another word', typed: 'deploy', expected: undefined },
    { name: 'a short word that is two edits away', typed: 'ran2', expected: undefined },
    { name: 'nothing', typed: '', expected: undefined },
    { name: 'text of absurd length', typed: 'run'.repeat(1000), expected: undefined },
  ]
  for (const { name, typed, expected } of cases) t.equal(nearestName(typed, NAMES), expected, name)
})
