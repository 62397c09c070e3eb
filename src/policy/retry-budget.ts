/** Read at each retry: they may change. */
export interface RetryBudgetOptions {
  /** Of the open connections. */
  readonly percent: number
  /** Always allowed. */
  readonly minConcurrency: number
}

/**
 * Bounds the retries that are under way at one time to a share of the open connections, so that a
 * Service whose endpoints all fail is not hit with a multiple of its load. The rule is Envoy's
 * (config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget): what counts is concurrency, so a dead
 * endpoint that refuses at once costs next to nothing of the budget, one that times out costs a lot.
 */
export class RetryBudget {
  readonly #options: RetryBudgetOptions
  #underWay = 0
  #refused = 0

  constructor(options: RetryBudgetOptions) {
    this.#options = options
  }

  get underWay(): number {
    return this.#underWay
  }

  /** Retries that were not made because the budget was spent. */
  get refused(): number {
    return this.#refused
  }

  /**
   * Takes one retry from the budget, or says no. `openConnections` counts those being dialled too.
   * Who got true calls `release` when that try has ended, however it ended.
   */
  tryAcquire(openConnections: number): boolean {
    const { percent, minConcurrency } = this.#options
    const allowed = Math.max(minConcurrency, Math.floor((openConnections * percent) / 100))
    if (this.#underWay >= allowed) {
      this.#refused++
      return false
    }
    this.#underWay++
    return true
  }

  release(): void {
    if (this.#underWay > 0) this.#underWay--
  }
}
