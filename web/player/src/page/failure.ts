// What a view tells of a request that failed.

import { t } from "./i18n.ts";

/** The text for a failure; null for a request that the page itself gave up. */
export function failureText(error: unknown): string | null {
  if (error instanceof DOMException && error.name === "AbortError") return null;
  return t("failed", { message: error instanceof Error ? error.message : String(error) });
}
