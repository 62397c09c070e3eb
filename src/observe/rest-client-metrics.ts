/**
 * Requests to the API server by the names of client-go (k8s.io/component-base, metrics/prometheus/
 * restclient), which dashboards of kube-proxy show beside its own metrics.
 */
import { Counter, Histogram, type Registry } from 'prom-client'

const BUCKETS = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60]

export interface RestClientAnswer {
  readonly method: string
  /** Name and port of the API server. */
  readonly host: string
  /** undefined: there was no answer. */
  readonly status: number | undefined
  /** Until the head of the answer; a watch goes on after that. */
  readonly seconds: number
}

export class RestClientMetrics {
  readonly #requests: Counter<'code' | 'host' | 'method'>
  readonly #seconds: Histogram<'host' | 'verb'>

  constructor(registry: Registry) {
    const registers = [registry]
    this.#requests = new Counter({
      name: 'rest_client_requests_total',
      help: 'Requests to the API server; code <error>: there was no answer',
      labelNames: ['code', 'host', 'method'],
      registers,
    })
    this.#seconds = new Histogram({
      name: 'rest_client_request_duration_seconds',
      help: 'Time from a request to the API server to the head of its answer',
      labelNames: ['host', 'verb'],
      buckets: BUCKETS,
      registers,
    })
  }

  answered({ method, host, status, seconds }: RestClientAnswer): void {
    this.#requests.inc({ code: status === undefined ? '<error>' : String(status), host, method })
    this.#seconds.observe({ host, verb: method }, seconds)
  }
}
