// What a view tells of a request that failed.

import { ApiError } from "../core/api.ts";
import { VerifierError } from "../core/evidence.ts";
import { t } from "./i18n.ts";
import { reloadIfUpdated } from "./updated.ts";

/** The text for a failure; null for a request that the page itself gave up. */
export function failureText(error: unknown): string | null {
  // Also what import() rejects with: it may be of a page that the gateway no longer serves.
  if (error instanceof TypeError) void reloadIfUpdated();
  return error instanceof DOMException && error.name === "AbortError" ? null : messageOf(error);
}

/** A sentence for an error. That of an `ApiError` is in the language of the page already. */
export function messageOf(error: unknown): string {
  if (error instanceof ApiError || error instanceof VerifierError) return error.message;
  // fetch() rejects with these where nothing answers, or not in time.
  const isUnanswered = error instanceof TypeError || (error instanceof DOMException && error.name === "TimeoutError");
  if (isUnanswered) return t("noAnswer");
  return t("failed", { message: error instanceof Error ? error.message : String(error) });
}
