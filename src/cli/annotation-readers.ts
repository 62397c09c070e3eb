/** Whoever owns annotations of Services, in one list: what they find wrong is told when objects come in. */
import type { RunConfig } from '../config/run-config.js'
import { stayProblems } from '../datapath/auto/stay-annotation.js'
import type { AnnotationReader } from '../policy/annotation-problems.js'
import { readBalancerSettings } from '../policy/balancer/settings.js'
import { parseHealthCheck } from '../policy/health/parse-health-check.js'

export function annotationReaders(config: RunConfig): readonly AnnotationReader[] {
  return [
    stayProblems,
    (port) => readBalancerSettings(port, config.balancers).problems,
    (port) => parseHealthCheck(port, config.health.defaults).problems,
  ]
}
