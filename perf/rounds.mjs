/** Rounds over contenders, in an order that turns, so that each meets the machine in every mood. */

/**
 * `measure(contender, isWarmUp)` answers an object of numbers; round 0 warms up (compilers, caches,
 * slow start) and does not count. `brief(figures)` is what the progress line says.
 * @returns {Promise<Map<string, Record<string, number[]>>>} by name, the figures of the rounds
 */
export async function alternate(contenders, rounds, { measure, brief }) {
  const results = new Map(contenders.map(({ name }) => [name, {}]))
  for (let round = 0; round <= rounds; round++) {
    for (let turn = 0; turn < contenders.length; turn++) {
      const contender = contenders[(turn + round) % contenders.length]
      const figures = await measure(contender, round === 0)
      console.error(`round ${round}/${rounds}  ${contender.name}: ${brief(figures)}`)
      if (round === 0) continue
      const result = results.get(contender.name)
      for (const [key, value] of Object.entries(figures)) (result[key] ??= []).push(value)
    }
  }
  return results
}
