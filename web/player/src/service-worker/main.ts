// The service worker of the page. Rules:
//
// 1. It keeps the shell alone: no API, no media, nothing that was asked for with a token. Any other request goes to the
//    network as if there were no service worker.
// 2. The network comes first, so that no page runs with the files of an older gateway. The kept files are for when the
//    gateway does not answer: the page then says so, and connects again.
// 3. The files of one version are kept together. A new version takes over at once and deletes the older ones.
// 4. A push message always becomes a notification, as browsers require.

import { cacheName, isOutdated, notificationUrl, type Shell, shellFile } from "../core/shell.ts";

/** What this needs of ServiceWorkerGlobalScope. TypeScript's library for workers cannot be used beside that of pages. */
interface Scope {
  readonly SHELL: Shell;
  readonly registration: ServiceWorkerRegistration;
  readonly clients: { matchAll(options: object): Promise<WindowClient[]>; openWindow(url: string): Promise<unknown> };
  skipWaiting(): Promise<void>;
  addEventListener(type: string, listener: (event: WorkerEvent) => void): void;
}
interface WindowClient {
  readonly url: string;
  focus(): Promise<WindowClient>;
  postMessage(message: unknown): void;
}
interface WorkerEvent {
  readonly request: Request;
  readonly data: { json(): unknown } | null;
  readonly notification: Notification;
  waitUntil(promise: Promise<unknown>): void;
  respondWith(response: Promise<Response>): void;
}
/** The message of `web.push.message`. */
interface Message {
  title: string;
  body: string;
  /** A later message with the same tag replaces this one. */
  tag: string;
  /** A fragment of the page. */
  url: string;
  lang: string;
  timestamp: number;
}

/** A gateway that does not answer for so long is taken for one that is away. */
const TIMEOUT_MS = 8000;

const worker = self as unknown as Scope;
const shell = worker.SHELL;
const scope = worker.registration.scope;

worker.addEventListener("install", (event) => event.waitUntil(install()));
worker.addEventListener("activate", (event) => event.waitUntil(removeOutdated()));
worker.addEventListener("fetch", (event) => {
  const file = shellFile(event.request, shell, scope);
  if (file !== null) event.respondWith(answer(event.request, file));
});
worker.addEventListener("push", (event) => event.waitUntil(show(event.data)));
worker.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(notificationUrl((event.notification.data as { url?: unknown } | null)?.url, scope)));
});

async function install(): Promise<void> {
  const cache = await caches.open(cacheName(shell));
  await cache.addAll(shell.files.map((file) => new Request(new URL(file, scope), { cache: "no-cache" })));
  await worker.skipWaiting();
}

async function removeOutdated(): Promise<void> {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => isOutdated(name, shell)).map((name) => caches.delete(name)));
}

async function answer(request: Request, file: string): Promise<Response> {
  try {
    return await fetch(request, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (error) {
    const kept = await caches.match(file, { cacheName: cacheName(shell) });
    if (kept) return kept;
    throw error;
  }
}

async function show(data: WorkerEvent["data"]): Promise<void> {
  const { title, body, tag, url, lang, timestamp } = read(data);
  const icon = new URL("static/icon-192.png", scope).href;
  // `timestamp` is not in TypeScript's library; Chromium shows it.
  const options = { body, tag, lang, timestamp, icon, badge: icon, data: { url } };
  await worker.registration.showNotification(title, options);
}

function read(data: WorkerEvent["data"]): Message {
  const nothing = { title: "liveedge", body: "", tag: "", url: "#/", lang: "", timestamp: Date.now() };
  try {
    return { ...nothing, ...(data?.json() as Partial<Message>) };
  } catch {
    return nothing;
  }
}

async function open(url: string): Promise<void> {
  const windows = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
  const page = windows.find((each) => each.url.split("#")[0] === scope);
  if (!page) {
    await worker.clients.openWindow(url);
    return;
  }
  // A page that is open goes there itself, and goes on with its token.
  page.postMessage({ type: "open", hash: new URL(url).hash });
  await page.focus();
}
