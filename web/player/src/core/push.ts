// Web Push, as far as it needs no browser: ids, keys, and what is kept of the user's choice.

import type { NewPushSubscription } from "../generated/api.ts";

/** What the user has chosen: a subscription without its address and keys. */
export type PushChoice = Omit<NewPushSubscription, "endpoint" | "keys">;

export type PushKind = PushChoice["kinds"][number];

export const KINDS: readonly PushKind[] = ["event.created", "camera.down", "camera.up", "disk.low", "problem.begun"];

/** base64url, with or without padding, as bytes. */
export function bytesOf(base64url: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

export function base64url(bytes: Uint8Array): string {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** The id of a subscription, as the gateway computes it. */
export async function subscriptionId(endpoint: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(endpoint));
  return base64url(new Uint8Array(digest).subarray(0, 16));
}

/** Whether a subscription was made for this key: one for another key gets nothing from this gateway. */
export function isForKey(key: ArrayBuffer | null, publicKey: string): boolean {
  return key !== null && base64url(new Uint8Array(key)) === publicKey;
}

/** Why a browser has made no subscription; null: for another reason than its user, its window or its push service. */
export type PushRefusal = "refused" | "noService";

/** What `PushManager.subscribe` has thrown. The browsers' own messages do not say what to do. */
export function refusalOf(error: unknown): PushRefusal | null {
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError") return "refused";
  return name === "AbortError" || name === "NetworkError" ? "noService" : null;
}

/** Labels, one after the other with commas. None are all. */
export function parseLabels(text: string): string[] | null {
  const labels = text
    .split(",")
    .map((label) => label.trim())
    .filter((label) => label !== "");
  return labels.length > 0 ? [...new Set(labels)] : null;
}

const BROWSERS: readonly (readonly [RegExp, string])[] = [
  [/Edg\//, "Edge"],
  [/OPR\//, "Opera"],
  [/SamsungBrowser\//, "Samsung Internet"],
  [/Firefox\/|FxiOS\//, "Firefox"],
  [/Chrome\/|CriOS\//, "Chrome"],
  [/Safari\//, "Safari"],
];
const SYSTEMS: readonly (readonly [RegExp, string])[] = [
  [/iPhone/, "iPhone"],
  [/iPad/, "iPad"],
  [/Android/, "Android"],
  [/Windows/, "Windows"],
  [/Macintosh/, "Mac"],
  [/Linux/, "Linux"],
];

/** What a list can call a browser. */
export function browserName(userAgent: string): string {
  const find = (names: typeof BROWSERS) => names.find(([pattern]) => pattern.test(userAgent))?.[1];
  return [find(BROWSERS), find(SYSTEMS)].filter(Boolean).join(", ") || "Browser";
}
