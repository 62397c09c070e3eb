/**
 * A quantile of a histogram, between bounds by proportion; NaN without a sample. Of what lies above the
 * last bound, that bound.
 */
export function quantile(bounds: readonly number[], counts: readonly number[], q: number): number {
  const total = counts.reduce((sum, count) => sum + count, 0)
  if (total <= 0) return NaN
  let rank = q * total
  for (const [index, bound] of bounds.entries()) {
    const count = counts[index] ?? 0
    const low = index === 0 ? 0 : (bounds[index - 1] ?? 0)
    if (count >= rank && count > 0) return low + ((bound - low) * rank) / count
    rank -= count
  }
  return bounds.at(-1) ?? NaN
}
