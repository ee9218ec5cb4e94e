// The state of a player, as its page sees it.

import { type Language, translate } from "./core/i18n.ts";
import type { Rendition } from "./core/rendition.ts";
import { liveStatusText, type StatusText } from "./core/status-text.ts";
import type { TransportName } from "./core/transports.ts";
import type { LivePlayback } from "./live-playback.ts";
import type { RecordingPlayback } from "./recording-playback.ts";

export type PlayerMode = "live" | "recording" | "paused";

export interface PlayerState extends StatusText {
  mode: PlayerMode;
  transport: TransportName | null;
  /** Which stream of the camera is shown; null if it is not known, and for a recording. */
  rendition: Rendition | null;
  /** Age of the frame on the screen, ms; null if it is not known. */
  latencyMs: number | null;
}

export function recordingState(recording: RecordingPlayback, language: Language): PlayerState {
  const text = recording.statusText(language);
  return { ...text, mode: "recording", transport: null, rendition: null, latencyMs: null };
}

export function pausedState(language: Language): PlayerState {
  const text = { status: "off", label: translate(language, "paused"), detail: "", notice: "" } as const;
  return { ...text, mode: "paused", transport: null, rendition: null, latencyMs: null };
}

export function liveState(
  { fallback, latencyMs, shown }: LivePlayback,
  camera: string,
  language: Language,
): PlayerState {
  const text = liveStatusText(fallback, camera, latencyMs, language, shown);
  const transport = fallback.current?.transport ?? null;
  return { ...text, mode: "live", transport, rendition: shown?.rendition ?? null, latencyMs };
}

/** Whether nothing but the latency differs. */
export function isSameState(one: PlayerState | null, other: PlayerState | null): boolean {
  const comparable = (state: PlayerState | null) => JSON.stringify({ ...state, latencyMs: 0, detail: 0 });
  return comparable(one) === comparable(other);
}
