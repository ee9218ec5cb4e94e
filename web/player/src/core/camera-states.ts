// What is known of the cameras of each gateway, and one poll for all players of a page that wait for their cameras.
//
// Rules:
// 1. A state that was heard less than KNOWN_MS ago is known: no transport is asked for a camera that is known to be down.
// 2. All players that wait at one gateway share one request every POLL_MS, and every POLL_LATE_MS when none has begun to
//    wait for LATE_MS. It answers 200 also for cameras that are down or that do not exist, and holds no connection.
// 3. The request keeps the cameras captured that are captured only while somebody watches: they would stay down otherwise.
// 4. What is not known any more is forgotten, and so are the gateways and tokens that nobody waits at: tokens change.
// 5. A hidden tab does not poll. It polls at once when it is visible again, and when the network has changed.

import type { Camera, CameraList } from "../generated/api.ts";
import { type Api, toFailure } from "./api.ts";
import { cameraReason } from "./error-texts.ts";
import type { CameraCheck } from "./fallback.ts";
import { isGatewayResponse } from "./reachability.ts";

export const KNOWN_MS = 3000;
export const POLL_MS = 500;
export const POLL_LATE_MS = 1000;
const LATE_MS = 60_000;
/** Between polls for cameras that do not exist. They may be added later. */
const MISSING_MS = 5000;
/** Longer than the slowest round trip on which anything plays. */
const TIMEOUT_MS = 1200;

/** What the gateway tells of a camera that a player needs. */
export type CameraState = Pick<Camera, "camera_id" | "state" | "error_code" | "error_message" | "live_edge" | "sub">;

/** The answer about a camera; null: the gateway does not answer. */
type Answered = (check: CameraCheck | null) => void;

const known = new Map<string, { camera: CameraState; heard: number }>();

const key = ({ base, token }: Api, camera: string) => JSON.stringify([base, token, camera]);

/** Tell what was heard of cameras. */
export function tellCameras(api: Api, cameras: readonly CameraState[]): void {
  const heard = performance.now();
  for (const [name, each] of known) if (heard - each.heard >= KNOWN_MS) known.delete(name);
  for (const camera of cameras) known.set(key(api, camera.camera_id), { camera, heard });
}

/** What is known of a camera; null: nothing that is new enough. */
export function knownCamera(api: Api, camera: string): CameraState | null {
  const found = known.get(key(api, camera));
  return found && performance.now() - found.heard < KNOWN_MS ? found.camera : null;
}

/** The state of a camera as a player sees it: one of its two streams is enough. */
export function checkOf(api: Api, { state, sub, live_edge, ...about }: CameraState): CameraCheck {
  return {
    state: sub?.state === "live" ? "live" : state,
    message: cameraReason(api.language, about),
    liveEdge: live_edge ? Date.parse(live_edge.time) : null,
  };
}

/**
 * Whether a camera sends nothing and is not about to. One that is stopped is started by its first viewer, and one that
 * connects for the first time may be there in a moment: these have no error.
 */
export function isDown({ state, sub, error_code, error_message }: CameraState): boolean {
  if (state === "live" || sub?.state === "live") return false;
  const isStarting = state === "stopped" || state === "connecting";
  return !isStarting || Boolean(error_code || error_message);
}

const asking = new Map<string, Promise<CameraState | null>>();

/** Ask for the state of a camera, and tell it. Throws as `Api.fetch` does. */
export function askCamera(api: Api, camera: string): Promise<CameraState | null> {
  const name = key(api, camera);
  const answer =
    asking.get(name) ??
    ask(api, [camera], false)
      .then((cameras) => cameras.find(({ camera_id }) => camera_id === camera) ?? null)
      .finally(() => asking.delete(name));
  asking.set(name, answer);
  return answer;
}

async function ask(api: Api, ids: readonly string[], isHeld: boolean): Promise<Camera[]> {
  const query = `camera_id=${ids.map(encodeURIComponent).join(",")}${isHeld ? "&hold=true" : ""}`;
  // Safari has AbortSignal.any, which could add a signal of the caller, only from 17.4 on. A late answer changes nothing.
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const { cameras } = await api.json<CameraList>(`/api/cameras?${query}`, { signal });
  tellCameras(api, cameras);
  return cameras;
}

const polls = new Map<string, Poll>();

/** Call `answered` with each answer about a camera until `signal` is aborted. */
export function pollCamera(api: Api, camera: string, signal: AbortSignal, answered: Answered): void {
  const name = JSON.stringify([api.base, api.token]);
  let poll = polls.get(name);
  if (!poll) {
    for (const [other, each] of polls) if (each.end()) polls.delete(other);
    poll = new Poll(api);
    polls.set(name, poll);
  }
  poll.add(camera, signal, answered);
}

class Poll {
  private readonly waiting = new Map<Answered, string>();
  private readonly missing = new Set<string>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private asked = Number.NEGATIVE_INFINITY;
  private joined = 0;
  private isAsking = false;
  private readonly ending = new AbortController();

  constructor(private readonly api: Api) {
    const resume = () => document.hidden || this.schedule(0);
    const { signal } = this.ending;
    document.addEventListener("visibilitychange", resume, { signal });
    window.addEventListener("online", resume, { signal });
    window.addEventListener("pageshow", resume, { signal });
  }

  /** End it if nobody has waited for a while; true if it has ended. */
  end(): boolean {
    const isInUse = this.waiting.size > 0 || this.isAsking || performance.now() - this.asked < LATE_MS;
    if (isInUse) return false;
    clearTimeout(this.timer);
    this.ending.abort();
    return true;
  }

  add(camera: string, signal: AbortSignal, answered: Answered): void {
    this.waiting.set(answered, camera);
    signal.addEventListener("abort", () => this.waiting.delete(answered), { once: true });
    this.missing.delete(camera);
    this.joined = performance.now();
    // In a moment, so that those that begin together share it.
    this.schedule(Math.max(0, this.asked + POLL_MS - this.joined));
  }

  private schedule(delay: number): void {
    clearTimeout(this.timer);
    if (this.waiting.size > 0 && !this.isAsking) this.timer = setTimeout(() => void this.ask(), delay);
  }

  private async ask(): Promise<void> {
    if (document.hidden || this.waiting.size === 0) return;
    this.isAsking = true;
    this.asked = performance.now();
    const asked = [...this.waiting];
    const check = await this.fetch([...new Set(asked.map(([, camera]) => camera))]);
    this.isAsking = false;
    for (const [answered, camera] of asked) if (this.waiting.has(answered)) answered(check(camera));
    const isMissing = [...this.waiting.values()].every((camera) => this.missing.has(camera));
    const isLate = performance.now() - this.joined > LATE_MS;
    this.schedule(isMissing ? MISSING_MS : isLate ? POLL_LATE_MS : POLL_MS);
  }

  private async fetch(ids: readonly string[]): Promise<(camera: string) => CameraCheck | null> {
    const { api } = this;
    try {
      const found = new Map((await ask(api, ids, true)).map((camera) => [camera.camera_id, camera]));
      for (const id of ids) found.has(id) ? this.missing.delete(id) : this.missing.add(id);
      return (id) => {
        const camera = found.get(id);
        return camera ? checkOf(api, camera) : { state: "notFound", message: "", liveEdge: null };
      };
    } catch (error) {
      if (!isGatewayResponse(error)) return () => null;
      const failure = toFailure(error);
      const refusal = failure.kind === "unauthorized" ? { refusal: failure } : {};
      return () => ({ state: null, message: "", liveEdge: null, ...refusal });
    }
  }
}
