// What is going on, in words and a tone: the same for a badge, a notice and a screen reader.

import type { Failure, Ladder } from "./fallback.ts";
import { type Language, say, shortDuration, type Word } from "./i18n.ts";

export type Tone = "live" | "wait" | "ill" | "off" | "past";

export interface Description {
  tone: Tone;
  /** One or two words. */
  label: string;
  /** What more there is to say: the transport, the latency. */
  more: string;
  /** A sentence where something is not as it ought to be. */
  notice: string;
}

const CAMERA_WORDS: Record<string, Word> = {
  stopped: "cameraStopped",
  connecting: "cameraConnecting",
  retrying: "cameraRetrying",
  failed: "cameraFailed",
  unavailable: "cameraConnecting",
};

const CAMERA_LABELS: Record<string, [Word, Tone]> = {
  stopped: ["stopped", "off"],
  connecting: ["connecting", "wait"],
  unavailable: ["connecting", "wait"],
  retrying: ["retrying", "ill"],
};

/** Describe live playback. */
export function describeLive(
  ladder: Ladder,
  camera: string,
  latencyMs: number | null,
  language: Language,
): Description {
  const word = (key: Word, values: Record<string, string> = {}) => say(language, key, values);
  const { current, cameraDown, phase, reason } = ladder;
  if (phase === "denied") {
    const status = [...ladder.failures.values()].find(({ kind }) => kind === "denied")?.status;
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
    const notice = phase === "waiting" ? waitingFor(ladder, language) : reason ? word("starting") : "";
    return { tone: "wait", label: word("connecting"), more: "", notice };
  }
  const more = [word(current.rung), latencyMs === null ? "" : shortDuration(latencyMs)].filter(Boolean).join(" · ");
  if (phase === "interrupted") return { tone: "wait", label: word("retrying"), more: word(current.rung), notice: "" };
  if (!reason) return { tone: "live", label: word("live"), more, notice: current.slow ? word("slow") : "" };
  const notice = word("fell", {
    from: word(reason.rung),
    to: word(current.rung),
    why: whyOf(reason.failure, language),
  });
  return { tone: "live", label: word("live"), more, notice };
}

/** Nothing plays: the gateway is silent, or says why not, or this browser cannot. */
function waitingFor({ away, reason }: Ladder, language: Language): string {
  if (away || !reason || isMere(reason.failure)) return say(language, "waiting");
  return say(language, "unplayable", { rung: say(language, reason.rung), why: whyOf(reason.failure, language) });
}

/** A connection that broke, and nobody knows more. */
function isMere({ kind, word }: Failure): boolean {
  return kind === "broken" && word === undefined;
}

function whyOf(failure: Failure, language: Language): string {
  const { kind, message, word } = failure;
  if (word !== undefined) return say(language, word);
  return message && !isMere(failure) ? message : say(language, kind as Word);
}
