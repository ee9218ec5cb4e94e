// The gateway's HTTP: where it is, who asks, and what its refusals mean.

import type { Failure } from "./fallback.ts";

export interface Camera {
  camera_id: string;
  state: "stopped" | "connecting" | "live" | "retrying" | "failed";
  is_active: boolean;
  rtsp_url: string;
  error_message: string | null;
  clients: number;
  viewers: Record<string, number>;
  codec: string | null;
  width: number | null;
  height: number | null;
  audio_codec: string | null;
  fps: number | null;
  bitrate_bps: number | null;
  keyframe_age_s: number | null;
  keyframe_interval_s: number | null;
  reconnects: number;
  packets_dropped: number;
  record: string;
  start: string;
  live_edge: { time: string } | null;
}

/** A refusal, with the gateway's own sentence. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }

  get failure(): Failure {
    const { status, message } = this;
    switch (status) {
      case 401:
      case 403:
        return { kind: "denied", message, status };
      case 404:
        return { kind: "missing", message, status };
      case 406:
        return { kind: "refused", message, status };
      case 503:
        return { kind: "unavailable", message, status };
      default:
        return { kind: "broken", message, status };
    }
  }
}

/** Any error as a failure of a transport. */
export function toFailure(error: unknown): Failure {
  if (error instanceof ApiError) return error.failure;
  return { kind: "broken", message: "" };
}

export class Api {
  constructor(
    /** Origin and path of the gateway, without a slash at the end. */
    readonly base: string,
    public token: string | null = null,
  ) {}

  url(path: string): string {
    return this.base + path;
  }

  get headers(): Record<string, string> {
    return this.token ? { Authorization: `Bearer ${this.token}` } : {};
  }

  /** One request. Throws ApiError for a refusal, TypeError where there is no answer. */
  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const response = await fetch(this.url(path), {
      cache: "no-store",
      ...init,
      headers: { ...this.headers, ...init.headers },
    });
    if (response.ok) return response;
    let code = "http";
    let message = `${response.status} ${response.statusText}`.trim();
    try {
      const body: unknown = await response.json();
      if (typeof body === "object" && body !== null) {
        if ("error" in body && typeof body.error === "string") code = body.error;
        if ("message" in body && typeof body.message === "string") message = body.message;
      }
    } catch {
      // Not the gateway's answer but a proxy's: its status must do.
    }
    throw new ApiError(response.status, code, message);
  }

  async json<T>(path: string, init: RequestInit = {}): Promise<T> {
    return (await (await this.fetch(path, init)).json()) as T;
  }

  /** An address that works without a header, for `src` and `href`: signed for this path where there is a token. */
  async link(path: string): Promise<string> {
    if (!this.token) return this.url(path);
    const { url } = await this.post<{ url: string }>("/api/sign", { path });
    return this.url(url);
  }

  async post<T>(path: string, body: unknown = {}): Promise<T> {
    return this.json<T>(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  }
}
