/** Values as the path of an SVG line. No document here. */

/** The path of a line through the values, oldest first, that ends at the right edge; null is a gap. */
export function linePath(
  values: readonly (number | null)[],
  { width, height, slots, max }: { width: number; height: number; slots: number; max: number },
): string {
  const step = width / Math.max(1, slots - 1)
  const left = width - step * (values.length - 1)
  let isDrawing = false
  let path = ''
  for (const [index, value] of values.entries()) {
    if (value === null) {
      isDrawing = false
      continue
    }
    const x = (left + step * index).toFixed(1)
    const y = (height - 1 - (max === 0 ? 0 : value / max) * (height - 3)).toFixed(1)
    path += `${isDrawing ? 'L' : 'M'}${x} ${y}`
    isDrawing = true
  }
  return path
}
