/** Whoever owns annotations of Services, in one list: what they find wrong is told when objects come in. */
import type { RunConfig } from '../config/run-config.js'
import { STAY_ANNOTATION, stayProblems } from '../datapath/auto/stay-annotation.js'
import type { AnnotationReader } from '../policy/annotation-problems.js'
import { readBalancerSettings } from '../policy/balancer/settings.js'
import { FIRST_BYTE_ANNOTATION, firstByteProblems } from '../policy/health/first-byte.js'
import { parseHealthCheck } from '../policy/health/parse-health-check.js'
import { type ServiceAnnotations, unknownAnnotations } from '../policy/unknown-annotations.js'

export const SERVICE_ANNOTATIONS: ServiceAnnotations = {
  names: ['balancer', 'health-check', STAY_ANNOTATION, FIRST_BYTE_ANNOTATION],
  families: ['balancer-', 'health-check-', 'health-check.'],
}

export function annotationReaders(config: RunConfig): readonly AnnotationReader[] {
  return [
    unknownAnnotations(SERVICE_ANNOTATIONS),
    stayProblems,
    firstByteProblems,
    (port) => readBalancerSettings(port, config.balancers).problems,
    (port) => parseHealthCheck(port, config.health.defaults).problems,
  ]
}
