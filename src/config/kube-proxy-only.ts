/**
 * What kube-proxy has and this program does not need: flags and fields of KubeProxyConfiguration
 * that are read, checked, and otherwise left alone. One that asks for something else than its
 * default is told of in one line with the reason. A flag that gets a meaning here becomes a row of
 * OPTIONS and leaves this table. Names and defaults: kube-proxy 1.36, cmd/kube-proxy/app/options.go
 * and staging/src/k8s.io/kube-proxy/config/v1alpha1/types.go.
 */
import type { JsonShape } from './json-shape.js'
import { duration, integer, switchType, type ValueType } from './value-type.js'

export interface KubeProxyOnly {
  /** Without the dashes; undefined where only the file has it. */
  readonly flag?: string
  readonly short?: string
  /** Path in KubeProxyConfiguration; undefined where only the command line has it. */
  readonly field?: string
  readonly type: ValueType<unknown>
  /** As text; what kube-proxy would use. */
  readonly default: string
  /** Completes "... has no effect here: ". */
  readonly reason: string
}

const text: ValueType<string> = anyText({ type: 'string' })
const boolean = switchType()
const bit = integer(0, 31)
const timeout = duration('0s', '1000000h')

const NO_RESYNC = 'changes are watched, there is nothing to say again'
const NO_LIMIT = 'a list and a watch of each kind are all requests there are'
const NO_RULES = 'the nftables mode has its marks elsewhere: see --conntrack-mark-mask'
const NO_INTERFACES = 'the modes here see addresses of clients and not their interfaces'
const LOG = 'the log is one JSON object a line, pretty on a terminal, written at once'
const WINDOWS = 'it is for Windows'

export const KUBE_PROXY_ONLY: readonly KubeProxyOnly[] = [
  only(
    ['clientConnection.contentType', 'kube-api-content-type'],
    text,
    'application/vnd.kubernetes.protobuf',
    'objects are read as JSON',
  ),
  only('clientConnection.acceptContentTypes', text, '', 'objects are read as JSON'),
  only(['clientConnection.qps', 'kube-api-qps'], number(), '5', NO_LIMIT),
  only(['clientConnection.burst', 'kube-api-burst'], integer(0, 2 ** 31 - 1), '10', NO_LIMIT),
  only(['configSyncPeriod', 'config-sync-period'], timeout, '15m', NO_RESYNC),
  only(['featureGates', 'feature-gates'], gates(), '', 'nothing here is behind a gate'),
  only(
    ['showHiddenMetricsForVersion', 'show-hidden-metrics-for-version'],
    text,
    '',
    'no metric is hidden',
  ),
  only('nftables.masqueradeBit', bit, '14', NO_RULES),
  only(['detectLocal.bridgeInterface', 'pod-bridge-interface'], text, '', NO_INTERFACES),
  only(['detectLocal.interfaceNamePrefix', 'pod-interface-name-prefix'], text, '', NO_INTERFACES),
  only('portRange', text, '', 'no port is opened for a Service, in kube-proxy neither'),
  only('windowsRunAsService', boolean, 'false', WINDOWS),
  ...['networkName', 'sourceVip', 'rootHnsEndpointName'].map((name) =>
    only(`winkernel.${name}`, text, '', WINDOWS),
  ),
  only('winkernel.enableDSR', boolean, 'false', WINDOWS),
  only('winkernel.forwardHealthCheckVip', boolean, 'false', WINDOWS),
  only(['logging.format', 'logging-format'], text, 'text', LOG),
  only(['logging.flushFrequency', 'log-flush-frequency'], flushFrequency(), '5s', LOG),
  only(['logging.vmodule', 'vmodule'], vmodule(), '', 'use --log-level'),
  ...['text', 'json'].flatMap((format) => [
    only(
      [`logging.options.${format}.splitStream`, `log-${format}-split-stream`],
      boolean,
      'false',
      LOG,
    ),
    only(
      [`logging.options.${format}.infoBufferSize`, `log-${format}-info-buffer-size`],
      quantity(),
      '0',
      LOG,
    ),
  ]),
  { flag: 'boot-id-file', type: text, default: '', reason: 'no machine information is gathered' },
  {
    flag: 'machine-id-file',
    type: text,
    default: '',
    reason: 'no machine information is gathered',
  },
]

/** @param names the field, or the field and the flag */
function only(
  names: string | readonly [string, string],
  type: ValueType<unknown>,
  defaultText: string,
  reason: string,
): KubeProxyOnly {
  const [field, flag] = typeof names === 'string' ? [names, undefined] : names
  return { field, type, default: defaultText, reason, ...(flag === undefined ? {} : { flag }) }
}

function anyText(json: JsonShape): ValueType<string> {
  return { placeholder: 'TEXT', json, parse: (given) => ({ value: given }) }
}

function number(): ValueType<number> {
  return {
    placeholder: 'N',
    json: { type: 'number' },
    parse: (given) => {
      const value = Number(given)
      return given.trim() !== '' && Number.isFinite(value)
        ? { value }
        : { problem: 'is not a number' }
    },
  }
}

function gates(): ValueType<string> {
  return {
    ...anyText({ type: 'object', additionalProperties: { type: 'boolean' } }),
    placeholder: 'GATE=true|false,...',
    parse: (given) =>
      given === '' || given.split(',').every((part) => /^\w+=(true|false)$/i.test(part))
        ? { value: given }
        : { problem: 'is not a list such as GateA=true,GateB=false' },
  }
}

function vmodule(): ValueType<string> {
  return anyText({
    type: 'array',
    items: {
      type: 'object',
      properties: { filePattern: { type: 'string' }, verbosity: { type: 'integer' } },
    },
  })
}

/** A duration, or a number of nanoseconds (component-base logs/api/v1 TimeOrMetaDuration). */
function flushFrequency(): ValueType<string> {
  return anyText({ type: ['string', 'integer'] })
}

/** A resource.Quantity. */
function quantity(): ValueType<string> {
  return anyText({ type: ['string', 'integer'] })
}
