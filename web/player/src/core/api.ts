// The gateway's HTTP API: its address, the token, and its errors.

import type { Error as ErrorBody, SignedUrl } from "../generated/api.ts";
import { errorText } from "./error-texts.ts";
import type { Language } from "./i18n.ts";
import type { Failure } from "./transports.ts";

/** An HTTP error, with the gateway's own code, and its message in the language of the `Api` where that has a text. */
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
        return { kind: "unauthorized", message, status };
      case 404:
        return { kind: "notFound", message, status };
      case 406:
        return { kind: "unsupported", message, status };
      case 409: // WHEP: the camera is not live
      case 503:
        return { kind: "unavailable", message, status };
      default:
        return { kind: "connectionLost", message, status };
    }
  }
}

/** The failure of a transport that an error means. */
export function toFailure(error: unknown): Failure {
  if (error instanceof ApiError) return error.failure;
  return { kind: "connectionLost", message: "" };
}

export class Api {
  constructor(
    /** URL of the gateway, without a trailing slash. */
    readonly base: string,
    public token: string | null = null,
    /** Of the messages of errors. */
    public language: Language = "en",
  ) {}

  url(path: string): string {
    return this.base + path;
  }

  get headers(): Record<string, string> {
    return this.token ? { Authorization: `Bearer ${this.token}` } : {};
  }

  /** One request. Throws ApiError for an HTTP error, TypeError if there is no response. */
  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const response = await fetch(this.url(path), {
      cache: "no-store",
      ...init,
      headers: { ...this.headers, ...init.headers },
    });
    if (response.ok) return response;
    throw this.errorOf(response.status, await response.text().catch(() => ""), response.statusText);
  }

  /** The error in the body of an answer. */
  errorOf(status: number, text: string, statusText = ""): ApiError {
    try {
      const body = JSON.parse(text) as Partial<ErrorBody> | null;
      if (typeof body?.error === "string" && typeof body.message === "string") {
        const { error, message, reason, values } = body;
        return new ApiError(status, error, errorText(this.language, { error, message, reason, values }) ?? message);
      }
    } catch {
      // The answer is not the gateway's but a proxy's: only its status is known.
    }
    const message = errorText(this.language, { error: "http_error" });
    return new ApiError(status, "http", message ? `${message} (${status})` : `${status} ${statusText}`.trim());
  }

  async json<T>(path: string, init: RequestInit = {}): Promise<T> {
    return (await (await this.fetch(path, init)).json()) as T;
  }

  /** A URL that works without a header, for `src` and `href`. With a token, it is signed for this path. */
  async link(path: string): Promise<string> {
    if (!this.token) return this.url(path);
    const { url } = await this.post<SignedUrl>("/api/sign", { path });
    return this.url(url);
  }

  async post<T>(path: string, body: unknown = {}): Promise<T> {
    return (await (await this.send("POST", path, body)).json()) as T;
  }

  /** A request with a JSON body, if there is one. */
  send(method: string, path: string, body?: unknown): Promise<Response> {
    if (body === undefined) return this.fetch(path, { method });
    return this.fetch(path, {
      method,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  }
}
