// Socket.IO towards the gateway: one connection for whoever asks, without reconnecting. Trying again is the fallback's.

import { io, type Socket } from "socket.io-client";
import { type Api, ApiError } from "../core/api.ts";

const TIMEOUT_MS = 4000;

export type { Socket };

/** A connected socket. Throws where it cannot be had. */
export function connect(api: Api): Promise<Socket> {
  const base = new URL(api.base);
  const socket = io(base.origin, {
    path: `${base.pathname.replace(/\/$/, "")}/socket.io/`,
    transports: ["websocket", "polling"],
    tryAllTransports: true,
    reconnection: false,
    forceNew: true,
    timeout: TIMEOUT_MS,
    auth: api.token ? { token: api.token } : {},
  });
  return new Promise((resolve, reject) => {
    socket.once("connect", () => resolve(socket));
    // Opened, and closed before it was connected.
    socket.io.once("close", (reason) => reject(new Error(reason)));
    socket.once("connect_error", (error: Error & { data?: { status?: number; message?: string } }) => {
      socket.disconnect();
      const status = error.data?.status;
      reject(status === undefined ? error : new ApiError(status, "socketio", error.data?.message ?? error.message));
    });
  });
}

/** Codes of the gateway's errors, as the statuses that they have over HTTP. */
const STATUS: Record<string, number> = {
  bad_request: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  not_acceptable: 406,
  conflict: 409,
  unavailable: 503,
};

/** An error that came as an answer, or as access_ended. */
export function refusal({ error = "", message = error }: { error?: string; message?: string }): ApiError {
  return new ApiError(STATUS[error] ?? 500, error, message);
}

/** A command and its acknowledgement. Throws ApiError for a refusal. */
export async function request<T>(socket: Socket, event: string, data: object): Promise<T> {
  const answer = (await socket.timeout(TIMEOUT_MS).emitWithAck(event, data)) as T & {
    error?: string;
    message?: string;
  };
  if (typeof answer?.error === "string") throw refusal(answer);
  return answer;
}
