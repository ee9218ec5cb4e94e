// Links to a moment: put into the address bar, and into the clipboard where the browser lets a page do that.

import { type PageMessageKey, t } from "./i18n.ts";

/** Show a hash in the address bar without loading the view again, and copy the link. Returns what to tell. */
export async function copyLink(hash: string): Promise<string> {
  history.replaceState(null, "", hash);
  let told: PageMessageKey = "linkCopied";
  try {
    // There is no clipboard on a page without TLS, except on localhost.
    await navigator.clipboard.writeText(location.href);
  } catch {
    told = "linkInAddress";
  }
  return t(told);
}
