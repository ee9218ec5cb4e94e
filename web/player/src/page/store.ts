// The state of the gateway, polled. An event tells the views of the page when it has changed.

import { Api, ApiError } from "../core/api.ts";
import { gatewayNow, sampleClock } from "../core/clock-sync.ts";
import { translate } from "../core/i18n.ts";
import type {
  Access,
  ArchiveStatus,
  Camera,
  CameraList,
  MessagingStatus,
  Scope,
  SignedOut,
  Status,
} from "../generated/api.ts";
import { tellCameras } from "../player.ts";
import { language } from "./i18n.ts";

// In a variable, because the bundler would treat a literal as an asset.
const SCRIPT_URL = import.meta.url;
const POLL_MS = 2000;
/** A gateway that does not answer is polled less and less often, down to this interval. */
const POLL_MAX_MS = 8000;
const TIMEOUT_MS = 5000;
const TOKEN_KEY = "liveedge-token";

/** What the page shows of the gateway. Without permission for the whole status, it shows the cameras alone. */
export interface GatewayView {
  cameras: Camera[];
  messaging: Pick<MessagingStatus, "adapter" | "connected">;
  archive: Pick<ArchiveStatus, "cameras" | "free_bytes">;
}

/** Whether either of its streams is: a wall needs the sub streams only. */
export function isLive({ state, sub }: Camera): boolean {
  return state === "live" || sub?.state === "live";
}

/** What people call a camera. */
export function nameOf(camera: Camera): string {
  return camera.name ?? camera.camera_id;
}

export function noSuchCamera(camera: string): string {
  return translate(language, "noSuchCamera", { camera });
}

export type GatewayError = "unreachable" | "unauthorized" | "forbidden" | null;

export class Store extends EventTarget {
  status: GatewayView | null = null;
  error: GatewayError = null;
  readonly api: Api;
  private access: Access | null = null;
  private isAccessOld = true;
  private timer = 0;
  private failures = 0;

  constructor() {
    super();
    this.api = new Api(new URL("..", SCRIPT_URL).href.replace(/\/$/, ""), sessionStorage.getItem(TOKEN_KEY), language);
    // A hidden tab does not poll. It polls at once when it is visible again.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return;
      // Somebody else may have signed in in another tab.
      this.isAccessOld = true;
      void this.refresh().then(() => this.dispatchEvent(new Event("back")));
    });
    addEventListener("online", () => void this.refresh());
  }

  /** The gateway's clock, ms since the Unix epoch. Recordings have its times, and that of this machine may be wrong. */
  get now(): number {
    return gatewayNow(this.api);
  }

  /** Ask for the gateway's time once. */
  async syncClock(): Promise<void> {
    await sampleClock(this.api, TIMEOUT_MS).catch(() => {}); // Then that of this machine has to do.
  }

  camera(id: string): Camera | null {
    return this.status?.cameras.find((camera) => camera.camera_id === id) ?? null;
  }

  /** Whether there is no such camera. A token that is for some cameras only does not know of the others. */
  isMissing(id: string): boolean {
    return this.status !== null && this.access?.cameras == null && this.camera(id) === null;
  }

  /** Whether the token has a scope. If that is not known, assume so: the gateway decides. */
  hasScope(scope: Scope): boolean {
    const { access } = this;
    return access === null || !access.auth || access.scopes.includes(scope) || access.scopes.includes("admin");
  }

  /** Whether the token is the one of this name. */
  isNamed(name: string): boolean {
    return this.access?.name === name;
  }

  /** Whether authentication is off. */
  get isOpen(): boolean {
    return this.access?.auth === false;
  }

  /** Whether there is something to sign out of: a sign-in or a token. */
  get canSignOut(): boolean {
    return this.access?.auth === true && (this.access.signed_in || this.api.token !== null);
  }

  /** Poll now, and then at intervals. */
  async refresh(): Promise<void> {
    clearTimeout(this.timer);
    const wasOut = this.error === "unauthorized";
    try {
      if (this.isAccessOld) await this.readAccess();
      this.status = await this.fetchStatus();
      tellCameras(this.api, this.status.cameras);
      this.error = null;
      if (this.failures > 0) this.dispatchEvent(new Event("back"));
      this.failures = 0;
      // Signed in in another tab: the players of this one have given up.
      if (wasOut) location.reload();
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

  /** Read what the credentials allow. The page begins anew where they are those of somebody else than before. */
  private async readAccess(): Promise<void> {
    const { access } = this;
    this.access = await this.fetchJson<Access>("/api/access");
    this.isAccessOld = false;
    const about = ({ auth, name, scopes, cameras }: Access) => JSON.stringify([auth, name, scopes, cameras]);
    if (access && about(access) !== about(this.access)) location.reload();
  }

  /** The status of the gateway, or only of the cameras if the token allows no more. */
  private async fetchStatus(): Promise<GatewayView> {
    try {
      return await this.fetchJson<Status>("/api/status");
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 403) throw error;
      const { cameras } = await this.fetchJson<CameraList>("/api/cameras");
      return { cameras, messaging: { adapter: "none", connected: false }, archive: { cameras: {}, free_bytes: null } };
    }
  }

  private fetchJson<T>(path: string): Promise<T> {
    return this.api.json<T>(path, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  }

  /** Forget the token, end the sign-in, at its provider too, and begin anew. */
  async signOut(): Promise<void> {
    sessionStorage.removeItem(TOKEN_KEY);
    let url: string | null = null;
    if (this.access?.signed_in) url = (await this.api.post<SignedOut>("/auth/logout")).url;
    if (url === null) location.reload();
    else location.assign(url);
  }

  /** Use another token. It is kept until the tab is closed. */
  async signIn(token: string): Promise<void> {
    sessionStorage.setItem(TOKEN_KEY, token);
    this.api.token = token;
    this.access = null;
    this.isAccessOld = true;
    this.error = null;
    await this.refresh();
    this.dispatchEvent(new Event("token"));
  }
}

export const store = new Store();
