/**
 * The plot of the demo, in parts of its duration:
 *
 *   0%        20%              40%      up to 50%    60%                         100%
 *   warm-up   SIGKILL: one     a pod's  link up      killed pods come back at    end
 *             pod a Service    link     again        other addresses
 *
 * The EndpointSlices list the dead pods until 60%: nothing but the proxy itself keeps clients away.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { PodState } from './frame.js'
import type { PodPlan, ServicePlan } from './topology.js'

/**
 * A connection that was under way when the link went down lives on by TCP's retransmission, 3 s
 * after it at the latest (0.2 s, doubled): longer, and clients with a time-out of 5 s would notice.
 */
const MAX_LINK_DOWN_MS = 2_500

/** What the plot needs of the stage and the show. */
export interface Scene {
  readonly services: readonly ServicePlan[]
  kill(pod: PodPlan): Promise<void>
  takeLinkDown(pod: PodPlan): Promise<void>
  bringLinkUp(pod: PodPlan): Promise<void>
  bringBack(pods: readonly PodPlan[]): Promise<void>
  event(text: string): void
  setState(pod: PodPlan, state: PodState): void
  setMoved(pod: PodPlan): void
}

/** Plays it to the end. Rejects with an AbortError when `signal` is aborted, or with what went wrong. */
export async function play(scene: Scene, durationMs: number, signal: AbortSignal): Promise<void> {
  const startedAtMs = performance.now()
  const until = async (part: number): Promise<void> => {
    const delayMs = startedAtMs + part * durationMs - performance.now()
    await sleep(Math.max(0, delayMs), undefined, { signal })
  }
  const victims = scene.services.flatMap(({ pods }) => pods.slice(1, 2))
  const silent = scene.services.find(({ name }) => name === 'http')?.pods[2]
  const linkDownMs = Math.min(MAX_LINK_DOWN_MS, durationMs / 10)

  scene.event('warm-up: every new connection goes to the next pod in turn')
  await until(0.2)
  await killAll(scene, victims)
  if (silent !== undefined) {
    await until(0.4)
    await loseLink(scene, silent)
    await until(0.4 + linkDownMs / durationMs)
    await scene.bringLinkUp(silent)
    scene.setState(silent, 'serving')
    scene.event(`link of ${silent.name} is up again`)
  }
  await until(0.6)
  await comeBack(scene, victims)
  await until(1)
}

async function killAll(scene: Scene, victims: readonly PodPlan[]): Promise<void> {
  scene.event(`SIGKILL to ${namesOf(victims)}: connects to them are refused`)
  await Promise.all(
    victims.map(async (pod) => {
      await scene.kill(pod)
      scene.setState(pod, 'killed')
    }),
  )
}

async function loseLink(scene: Scene, pod: PodPlan): Promise<void> {
  scene.event(`link of ${pod.name} goes down: connects to it get no answer at all`)
  scene.setState(pod, 'link down')
  await scene.takeLinkDown(pod)
}

async function comeBack(scene: Scene, pods: readonly PodPlan[]): Promise<void> {
  for (const pod of pods) scene.setState(pod, 'starting')
  await scene.bringBack(pods)
  for (const pod of pods) {
    scene.setState(pod, 'serving')
    scene.setMoved(pod)
    scene.event(`EndpointSlice edited: ${pod.name} is now at ${pod.second.ipv4}`)
  }
}

function namesOf(pods: readonly PodPlan[]): string {
  return pods.map(({ name }) => name).join(', ')
}
