/** Guesses what a mistyped name meant, for "did you mean". */

/** Longer input is not compared: the cost is the product of the two lengths. */
const MAX_NAME_LENGTH = 64

/**
 * The name that is fewest edits away (insert, delete, replace, swap of neighbours), the first of
 * several; undefined when even that one is too far to be a slip: more than a third of its letters,
 * and never more than three.
 */
export function nearestName(typed: string, names: Iterable<string>): string | undefined {
  if (typed.length > MAX_NAME_LENGTH) return undefined
  let nearest: string | undefined
  let fewest = Infinity
  for (const name of names) {
    const limit = Math.min(3, Math.max(1, Math.floor(name.length / 3)))
    const edits = editDistance(typed, name)
    if (edits <= limit && edits < fewest) {
      nearest = name
      fewest = edits
    }
  }
  return nearest
}

/** Optimal string alignment distance; three rows of the table are enough. */
function editDistance(from: string, to: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row]
    for (let column = 1; column <= to.length; column += 1) {
      const isSame = from[row - 1] === to[column - 1]
      let best = Math.min(
        at(last, column) + 1,
        at(current, column - 1) + 1,
        at(last, column - 1) + (isSame ? 0 : 1),
      )
      if (row > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]) {
        best = Math.min(best, at(beforeLast, column - 2) + 1)
      }
      current.push(best)
    }
    beforeLast = last
    last = current
  }
  return at(last, to.length)
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Infinity
}
