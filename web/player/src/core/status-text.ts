// What is going on, as a status and as text. The badge, the notice and screen readers show the same.

import type { TransportFallback } from "./fallback.ts";
import { formatDuration, type Language, type MessageKey, translate } from "./i18n.ts";
import type { ShownRendition } from "./rendition.ts";
import type { Failure } from "./transports.ts";

export type PlayerStatus = "live" | "connecting" | "error" | "off" | "recording";

export interface StatusText {
  status: PlayerStatus;
  /** One or two words. */
  label: string;
  /** The transport and the latency, or the time in a recording. */
  detail: string;
  /** A sentence if something is wrong, or empty. */
  notice: string;
}

/** A picture that is older is not live, ms. */
export const LIVE_MAX_MS = 5000;

const CAMERA_NOTICES: Record<string, MessageKey> = {
  stopped: "cameraStopped",
  connecting: "cameraConnecting",
  retrying: "cameraRetrying",
  failed: "cameraFailed",
  unavailable: "cameraConnecting",
};

const CAMERA_LABELS: Record<string, [MessageKey, PlayerStatus]> = {
  stopped: ["stopped", "off"],
  connecting: ["connecting", "connecting"],
  unavailable: ["connecting", "connecting"],
  retrying: ["retrying", "error"],
};

/** The text for live playback. */
export function liveStatusText(
  fallback: TransportFallback,
  camera: string,
  latencyMs: number | null,
  language: Language,
  shown: ShownRendition | null = null,
): StatusText {
  const text = (key: MessageKey, values: Record<string, string> = {}) => translate(language, key, values);
  const { current, cameraDown, phase, reason } = fallback;
  if (phase === "unauthorized") {
    const status = [...fallback.failures.values()].find(({ kind }) => kind === "unauthorized")?.status;
    const notice = text(status === 403 ? "forbidden" : "signIn");
    return { status: "error", label: text("failed"), detail: "", notice };
  }
  if (cameraDown) {
    const [label, status] = CAMERA_LABELS[cameraDown.state] ?? ["failed", "error"];
    return { status, label: text(label), detail: "", notice: cameraNotice(cameraDown, camera, language) };
  }
  if (!current) {
    const notice = phase === "waiting" ? waitingNotice(fallback, language) : reason ? text("starting") : "";
    return { status: "connecting", label: text("connecting"), detail: "", notice };
  }
  if (phase === "interrupted") {
    return { status: "connecting", label: text("retrying"), detail: text(current.transport), notice: "" };
  }
  // Of one stream there is nothing to tell.
  const rendition = shown && shown.available.length > 1 ? text(shown.rendition) : "";
  const detail = [text(current.transport), rendition, latencyMs === null ? "" : formatDuration(latencyMs)]
    .filter(Boolean)
    .join(" · ");
  const isLate = latencyMs !== null && latencyMs >= LIVE_MAX_MS;
  const [status, label]: [PlayerStatus, string] = isLate ? ["connecting", text("late")] : ["live", text("live")];
  if (!reason) return { status, label, detail, notice: current.isDegraded ? text("degraded") : "" };
  const notice = text("fallback", {
    from: text(reason.transport),
    to: text(current.transport),
    reason: reasonText(reason.failure, language),
  });
  return { status, label, detail, notice };
}

function cameraNotice(
  { state, message }: { state: string; message: string },
  camera: string,
  language: Language,
): string {
  if (state === "notFound") return translate(language, "noSuchCamera", { camera });
  const sentence = translate(language, CAMERA_NOTICES[state] ?? "cameraFailed");
  if (!message) return sentence;
  // In Korean, the message is a sentence that does not follow a colon well.
  return language === "en" ? `${sentence.replace(/[.…]+$/, "")}: ${message}` : `${sentence}\n${message}`;
}

/** Nothing plays: the gateway does not answer, or says why not, or this browser cannot play it. */
function waitingNotice(fallback: TransportFallback, language: Language): string {
  const { isGatewayUnreachable, refusedOrigin, reason } = fallback;
  if (isGatewayUnreachable && refusedOrigin) return translate(language, "originRefused", { origin: refusedOrigin });
  if (isGatewayUnreachable || !reason || isUnexplained(reason.failure)) return translate(language, "waiting");
  return translate(language, "unplayable", {
    transport: translate(language, reason.transport),
    reason: reasonText(reason.failure, language),
  });
}

/** A lost connection, and nothing more is known. */
function isUnexplained({ kind, messageKey }: Failure): boolean {
  return kind === "connectionLost" && messageKey === undefined;
}

function reasonText(failure: Failure, language: Language): string {
  const { kind, message, messageKey } = failure;
  if (messageKey !== undefined) return translate(language, messageKey);
  if (message && !isUnexplained(failure)) return message;
  // These three end playback, or are shown as the camera's state. None of them is a reason for a fallback.
  if (kind === "unauthorized" || kind === "notFound" || kind === "unreachable")
    return translate(language, "unavailable");
  return translate(language, kind);
}
