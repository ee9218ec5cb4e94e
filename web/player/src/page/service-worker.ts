// Registers the service worker, which makes the page installable and receives notifications.

import { store } from "./store.ts";

/** Null where there is none: without HTTPS, or where the browser refuses it. */
export const registration: Promise<ServiceWorkerRegistration | null> = register();

async function register(): Promise<ServiceWorkerRegistration | null> {
  if (!("serviceWorker" in navigator)) return null;
  navigator.serviceWorker.addEventListener("message", ({ data }) => {
    if (data?.type === "open" && String(data.hash).startsWith("#/")) location.hash = data.hash;
  });
  try {
    return await navigator.serviceWorker.register(`${store.api.base}/service-worker.js`);
  } catch {
    return null;
  }
}
