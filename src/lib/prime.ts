/** Prime numbers, for the sizes of hash tables. */

/** Whether it is a prime; for numbers up to some millions. */
export function isPrime(value: number): boolean {
  if (value < 4) return value > 1
  if (value % 2 === 0) return false
  for (let divisor = 3; divisor * divisor <= value; divisor += 2) {
    if (value % divisor === 0) return false
  }
  return true
}

/** The least prime that is not below the value. */
export function primeFrom(value: number): number {
  let candidate = Math.max(2, Math.ceil(value))
  while (!isPrime(candidate)) candidate++
  return candidate
}
