// This browser's subscription to notifications: with its push service, and at the gateway.

import {
  base64url,
  bytesOf,
  isForKey,
  type PushChoice,
  type PushRefusal,
  refusalOf,
  subscriptionId,
} from "../core/push.ts";
import type { NewPushSubscription, PushInfo, PushSubscription as Subscribed } from "../generated/api.ts";
import { registration } from "./service-worker.ts";
import { store } from "./store.ts";

/** The choice is kept, so that the subscription can be made again when the browser has changed it. */
const CHOICE_KEY = "liveedge-push";
const CONFIRMED_KEY = "liveedge-push-confirmed";
const CONFIRM_MS = 12 * 3600_000;

/** Why there are no notifications here; null: there can be. */
export type PushObstacle = "insecure" | "addToHomeScreen" | "unsupported" | "denied";

export async function obstacle(): Promise<PushObstacle | null> {
  if (!isSecureContext) return "insecure";
  const isApple = /iPhone|iPad/.test(navigator.userAgent) || (navigator.maxTouchPoints > 1 && isMac());
  if (!("PushManager" in window) || !("Notification" in window)) return isApple ? "addToHomeScreen" : "unsupported";
  if ((await registration) === null) return "unsupported";
  return Notification.permission === "denied" ? "denied" : null;
}

function isMac(): boolean {
  return /Macintosh/.test(navigator.userAgent);
}

/** The id of this browser's subscription; null if it has none. */
export async function ownId(): Promise<string | null> {
  const current = await (await registration)?.pushManager?.getSubscription();
  return current ? subscriptionId(current.endpoint) : null;
}

/** Ask for permission and subscribe, or change the choice. The answer is why there is no subscription; null: there is. */
export async function subscribe(choice: PushChoice): Promise<PushRefusal | null> {
  if ((await Notification.requestPermission()) !== "granted") return "refused";
  return send(choice);
}

/** End this browser's subscription. */
export async function unsubscribe(): Promise<void> {
  localStorage.removeItem(CHOICE_KEY);
  const id = await ownId();
  await (await (await registration)?.pushManager.getSubscription())?.unsubscribe();
  if (id !== null) await store.api.send("DELETE", `/api/push/subscriptions/${id}`);
}

/** Now and then, tell the gateway that this browser still wants notifications. */
export async function confirm(): Promise<void> {
  const kept = localStorage.getItem(CHOICE_KEY);
  const isDue = Date.now() - Number(localStorage.getItem(CONFIRMED_KEY)) > CONFIRM_MS;
  if (kept === null || !isDue || (await obstacle()) !== null || Notification.permission !== "granted") return;
  try {
    await send(JSON.parse(kept) as PushChoice);
  } catch {
    // The list of notifications shows what is wrong.
  }
}

async function send(choice: PushChoice): Promise<PushRefusal | null> {
  const manager = (await registration)?.pushManager;
  if (!manager) throw new Error("no service worker");
  const { public_key } = await store.api.json<PushInfo>("/api/push");
  let current = await manager.getSubscription();
  if (current && !isForKey(current.options.applicationServerKey, public_key)) {
    await current.unsubscribe();
    current = null;
  }
  try {
    current ??= await manager.subscribe({ userVisibleOnly: true, applicationServerKey: bytesOf(public_key) });
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal === null) throw error;
    return refusal;
  }
  const made = current;
  const key = (name: PushEncryptionKeyName) => base64url(new Uint8Array(made.getKey(name) ?? new ArrayBuffer(0)));
  const keys = { p256dh: key("p256dh"), auth: key("auth") };
  const wanted: NewPushSubscription = { ...choice, endpoint: made.endpoint, keys };
  await store.api.post<Subscribed>("/api/push/subscriptions", wanted);
  localStorage.setItem(CHOICE_KEY, JSON.stringify(choice));
  localStorage.setItem(CONFIRMED_KEY, String(Date.now()));
  return null;
}
