/** Files of the repository that are printed from tables: `npm run docs` writes, a test compares. */
import { configSchema } from '../config/json-schema.js'
import { optionsPage } from '../config/options-page.js'
import { KubeProxyMetrics } from '../observe/kube-proxy-metrics.js'
import { metricsPage } from '../observe/metrics-page.js'
import { RestClientMetrics } from '../observe/rest-client-metrics.js'
import { manPage } from './man-page.js'

/** Path from the root -> text, before prettier has been over what it knows. */
export function generatedFiles(): Readonly<Record<string, string>> {
  const { registry } = new KubeProxyMetrics()
  new RestClientMetrics(registry)
  return {
    'deploy/kube-sluice-config.schema.json': `${JSON.stringify(configSchema(), null, 2)}\n`,
    'docs/configuration.md': optionsPage(),
    'docs/kube-sluice.8': manPage(),
    'docs/metrics.md': metricsPage(registry),
  }
}
