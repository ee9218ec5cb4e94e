// Whether the gateway serves another page than this one. A page stays open for weeks, and the gateway is updated
// meanwhile: what the page has not loaded yet, such as the code that plays recordings, is then gone.

import { isDialogOpen } from "./dialog.ts";
import { store } from "./store.ts";
import { every } from "./timer.ts";

/** Its ETag is a digest of the files of the page. */
const PATH = "/service-worker.js";
const TIMEOUT_MS = 5000;
const CHECK_MS = 5 * 60_000;

let own = served();
let isOld = false;

/** Check now and then, and after each time in which the gateway did not answer or nobody saw the page. */
export function watchForUpdates(mayReload: () => boolean): void {
  const check = async () => {
    isOld ||= await isUpdated();
    if (isOld && mayReload() && !isDialogOpen()) location.reload();
  };
  every(CHECK_MS, new AbortController().signal, () => document.hidden || void check());
  store.addEventListener("back", () => void check());
  store.addEventListener("change", () => isOld && void check());
}

/** Something of the page could not be loaded: begin anew if the gateway was updated. */
export async function reloadIfUpdated(): Promise<void> {
  if (await isUpdated()) location.reload();
}

async function isUpdated(): Promise<boolean> {
  const [before, now] = [await own, await served()];
  if (before === null) own = Promise.resolve(now);
  return before !== null && now !== null && before !== now;
}

/** What identifies the page that the gateway serves; null if it does not answer. */
async function served(): Promise<string | null> {
  try {
    const { headers } = await store.api.fetch(PATH, { method: "HEAD", signal: AbortSignal.timeout(TIMEOUT_MS) });
    return headers.get("ETag");
  } catch {
    return null;
  }
}
