// What the page knows of the gateway, asked again and again; whoever shows it is told.

import { Api, ApiError, type Camera } from "../core/api.ts";

// From a variable: a literal would be taken for an asset by the bundler.
const HERE = import.meta.url;
const POLL_MS = 2000;
/** What does not answer is asked less and less often, down to this. */
const POLL_MAX_MS = 8000;
const TIMEOUT_MS = 5000;
const TOKEN_KEY = "liveedge-token";

export interface ArchiveCamera {
  is_recording: boolean;
  error: string | null;
}

export interface Status {
  cameras: Camera[];
  messaging: { adapter: string; connected: boolean };
  archive: { cameras: Record<string, ArchiveCamera>; free_bytes?: number | null };
}

/** Who one is, and what one may. */
interface Access {
  auth: boolean;
  scopes: string[];
}

export type GatewayError = "unreachable" | "unauthorized" | "forbidden" | null;

export class Store extends EventTarget {
  status: Status | null = null;
  error: GatewayError = null;
  readonly api: Api;
  private access: Access | null = null;
  private timer = 0;
  private failures = 0;

  constructor() {
    super();
    this.api = new Api(new URL("..", HERE).href.replace(/\/$/, ""), sessionStorage.getItem(TOKEN_KEY));
    // Nobody looks at a hidden tab: it asks nothing, and at once when it is seen again.
    document.addEventListener("visibilitychange", () => document.hidden || void this.refresh());
    addEventListener("online", () => void this.refresh());
  }

  camera(id: string): Camera | null {
    return this.status?.cameras.find((camera) => camera.camera_id === id) ?? null;
  }

  /** Whether a scope is given; where nothing is known, the gateway decides. */
  may(scope: "control" | "archive"): boolean {
    const { access } = this;
    return access === null || !access.auth || access.scopes.includes(scope) || access.scopes.includes("admin");
  }

  /** Ask now, and from then on. */
  async refresh(): Promise<void> {
    clearTimeout(this.timer);
    try {
      this.access ??= await this.ask<Access>("/api/access");
      this.status = await this.askStatus();
      this.error = null;
      this.failures = 0;
    } catch (error) {
      const status = error instanceof ApiError ? error.status : 0;
      this.error = status === 401 ? "unauthorized" : status === 403 ? "forbidden" : "unreachable";
      this.failures += 1;
    }
    this.dispatchEvent(new Event("change"));
    clearTimeout(this.timer);
    if (document.hidden) return;
    this.timer = window.setTimeout(
      () => void this.refresh(),
      Math.min(POLL_MAX_MS, POLL_MS * 2 ** Math.max(0, this.failures - 1)),
    );
  }

  /** The whole house, or the cameras alone for those who may see no more. */
  private async askStatus(): Promise<Status> {
    try {
      return await this.ask<Status>("/api/status");
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 403) throw error;
      const { cameras } = await this.ask<{ cameras: Camera[] }>("/api/cameras");
      return { cameras, messaging: { adapter: "none", connected: false }, archive: { cameras: {} } };
    }
  }

  private ask<T>(path: string): Promise<T> {
    return this.api.json<T>(path, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  }

  /** Use another token, for as long as the tab lives. */
  async signIn(token: string): Promise<void> {
    sessionStorage.setItem(TOKEN_KEY, token);
    this.api.token = token;
    this.access = null;
    await this.refresh();
    this.dispatchEvent(new Event("token"));
  }
}

export const store = new Store();
