// The shell of the page: the files that it needs to start. The service worker keeps them, and nothing else.

export interface Shell {
  /** Another version for other contents. */
  version: string;
  /** URLs, relative to the page's. The first is the page itself: empty. */
  files: readonly string[];
}

const PREFIX = "liveedge-shell-";

export function cacheName({ version }: Shell): string {
  return PREFIX + version;
}

/** Whether a cache is of another version of the shell. */
export function isOutdated(name: string, shell: Shell): boolean {
  return name.startsWith(PREFIX) && name !== cacheName(shell);
}

/** The request, as far as it matters. */
export interface ShellRequest {
  method: string;
  url: string;
  headers: Pick<Headers, "has">;
}

/** The file of the shell that a request is for: its URL below `scope`. Null: it is none, and must not be kept. */
export function shellFile({ method, url, headers }: ShellRequest, shell: Shell, scope: string): string | null {
  if (method !== "GET" || headers.has("Authorization") || headers.has("Range")) return null;
  const file = shell.files.find((name) => new URL(name, scope).href === url);
  return file === undefined ? null : new URL(file, scope).href;
}

/** The address that a notification opens: a fragment of the page, and nowhere else. */
export function notificationUrl(hash: unknown, scope: string): string {
  return new URL(typeof hash === "string" && hash.startsWith("#/") ? hash : "#/", scope).href;
}
