// What is going on, in words and a tone: the same for a badge, a notice and a screen reader.

import type { Failure, TransportFallback } from "./fallback.ts";
import { formatDuration, type Language, type MessageKey, translate } from "./i18n.ts";

export type PlayerStatus = "live" | "wait" | "ill" | "off" | "past";

export interface StatusText {
  tone: PlayerStatus;
  /** One or two words. */
  label: string;
  /** What more there is to translate: the transport, the latency. */
  more: string;
  /** A sentence where something is not as it ought to be. */
  notice: string;
}

const CAMERA_WORDS: Record<string, MessageKey> = {
  stopped: "cameraStopped",
  connecting: "cameraConnecting",
  retrying: "cameraRetrying",
  failed: "cameraFailed",
  unavailable: "cameraConnecting",
};

const CAMERA_LABELS: Record<string, [MessageKey, PlayerStatus]> = {
  stopped: ["stopped", "off"],
  connecting: ["connecting", "wait"],
  unavailable: ["connecting", "wait"],
  retrying: ["retrying", "ill"],
};

/** Describe live playback. */
export function liveStatusText(
  fallback: TransportFallback,
  camera: string,
  latencyMs: number | null,
  language: Language,
): StatusText {
  const word = (key: MessageKey, values: Record<string, string> = {}) => translate(language, key, values);
  const { current, cameraDown, phase, reason } = fallback;
  if (phase === "denied") {
    const status = [...fallback.failures.values()].find(({ kind }) => kind === "denied")?.status;
    return { tone: "ill", label: word("failed"), more: "", notice: word(status === 403 ? "forbidden" : "signIn") };
  }
  if (cameraDown) {
    const what = word(CAMERA_WORDS[cameraDown.state] ?? "cameraFailed");
    // The gateway's own sentence is English: in a sentence of another language it is one of its own.
    const why =
      cameraDown.message &&
      (language === "en" ? `${what.replace(/[.…]+$/, "")}: ${cameraDown.message}` : `${what}\n${cameraDown.message}`);
    const notice = cameraDown.state === "missing" ? word("missing", { camera }) : why || what;
    const [label, tone] = CAMERA_LABELS[cameraDown.state] ?? ["failed", "ill"];
    return { tone, label: word(label), more: "", notice };
  }
  if (!current) {
    const notice = phase === "waiting" ? waitingFor(fallback, language) : reason ? word("starting") : "";
    return { tone: "wait", label: word("connecting"), more: "", notice };
  }
  const more = [word(current.transport), latencyMs === null ? "" : formatDuration(latencyMs)]
    .filter(Boolean)
    .join(" · ");
  if (phase === "interrupted")
    return { tone: "wait", label: word("retrying"), more: word(current.transport), notice: "" };
  if (!reason) return { tone: "live", label: word("live"), more, notice: current.slow ? word("slow") : "" };
  const notice = word("fell", {
    from: word(reason.transport),
    to: word(current.transport),
    why: whyOf(reason.failure, language),
  });
  return { tone: "live", label: word("live"), more, notice };
}

/** Nothing plays: the gateway is silent, or says why not, or this browser cannot. */
function waitingFor({ away, reason }: TransportFallback, language: Language): string {
  if (away || !reason || isMere(reason.failure)) return translate(language, "waiting");
  return translate(language, "unplayable", {
    transport: translate(language, reason.transport),
    why: whyOf(reason.failure, language),
  });
}

/** A connection that broke, and nobody knows more. */
function isMere({ kind, word }: Failure): boolean {
  return kind === "broken" && word === undefined;
}

function whyOf(failure: Failure, language: Language): string {
  const { kind, message, word } = failure;
  if (word !== undefined) return translate(language, word);
  return message && !isMere(failure) ? message : translate(language, kind as MessageKey);
}
