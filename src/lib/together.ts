/** Several pieces of work at once, all of which have ended when it returns, also when one of them fails. */

/** Throws what the first of `items` threw whose work failed. Nothing of it goes on in the background. */
export async function together<T>(
  items: Iterable<T>,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const results = await Promise.allSettled(Array.from(items, work))
  for (const result of results) {
    if (result.status === 'rejected') throw result.reason
  }
}
