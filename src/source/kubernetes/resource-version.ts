/**
 * Comparing resourceVersions. They are equal or not, nothing else, says the API; but all servers
 * there are count up, and that a history has gone backwards (a restored etcd) shows in nothing else.
 */

const DECIMAL = /^[1-9][0-9]*$/

/** Whether a is known to be before b; false when one of them is no number. */
export function isOlder(a: string, b: string): boolean {
  if (!DECIMAL.test(a) || !DECIMAL.test(b)) return false
  return a.length === b.length ? a < b : a.length < b.length
}
