/** The probes by the name of their check. A new protocol is a file beside this one and a row here. */
import { systemClock } from '../../../lib/clock.js'
import { isProbed, type ProbeType } from '../health-check.js'
import { startAgentProbe } from './agent.js'
import { startDnsProbe } from './dns.js'
import { startExecProbe } from './exec.js'
import { startGrpcProbe } from './grpc.js'
import { startHttpProbe, startHttpsProbe } from './http.js'
import { startHttp2Probe } from './http2.js'
import { Pinger } from './icmp.js'
import { startMqttProbe } from './mqtt.js'
import { startMysqlProbe } from './mysql.js'
import { startPostgresProbe } from './postgres.js'
import { QuickProbes, type QuickSockets } from './quick-probes.js'
import type { StartProbe } from './probe.js'
import { startRedisProbe } from './redis.js'
import { startSmtpProbe } from './smtp.js'
import { startTcpProbe } from './tcp.js'
import { startTlsProbe } from './tls.js'
import { startUdpProbe } from './udp.js'

/**
 * Starts whatever probe a check asks for; throws when one cannot be started at all. With `sockets` the
 * checks that most Services have, a connect and an HTTP status, cost a third.
 */
export function probeStarter(
  pinger: Pinger = new Pinger(process.pid & 0xffff),
  sockets?: QuickSockets,
): StartProbe {
  const probes: Readonly<Record<ProbeType, StartProbe>> = {
    tcp: startTcpProbe,
    http: startHttpProbe,
    https: startHttpsProbe,
    http2: startHttp2Probe,
    grpc: startGrpcProbe,
    tls: startTlsProbe,
    dns: startDnsProbe,
    redis: startRedisProbe,
    postgres: startPostgresProbe,
    mysql: startMysqlProbe,
    mqtt: startMqttProbe,
    smtp: startSmtpProbe,
    icmp: pinger.start,
    udp: startUdpProbe,
    exec: startExecProbe,
    agent: startAgentProbe,
  }
  const quick = sockets && new QuickProbes(sockets, systemClock)
  return (target, done) => {
    const { type } = target.check
    if (!isProbed(type)) throw new Error(`there is nothing to probe for ${type}`)
    if (quick?.knows(target.check) === true) return quick.start(target, done)
    return probes[type](target, done)
  }
}
