// A Socket.IO connection to the gateway. It does not reconnect: retries are the job of TransportFallback.

import { io, type Socket as SocketIo } from "socket.io-client";
import { type Api, ApiError } from "../core/api.ts";
import { errorText } from "../core/error-texts.ts";
import type { EventsFromGateway, EventsToGateway, Refusal } from "../generated/events.ts";

const TIMEOUT_MS = 4000;

export type Socket = SocketIo<EventsFromGateway, EventsToGateway>;

/** A connected socket. Throws if the connection fails. */
export function connect(api: Api): Promise<Socket> {
  const base = new URL(api.base);
  const socket: Socket = io(base.origin, {
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
    // The transport was opened, and closed before Socket.IO was connected.
    socket.io.once("close", (reason) => reject(new Error(reason)));
    socket.once("connect_error", (error: Error & { data?: Partial<Refusal> & { status?: number } }) => {
      socket.disconnect();
      const { status, error: code = "socketio", message = error.message } = error.data ?? {};
      const text = errorText(api.language, { error: code }) ?? message;
      reject(status === undefined ? error : new ApiError(status, code, text));
    });
  });
}

/** The HTTP status of each of the gateway's error codes. */
const STATUS: Record<string, number> = {
  bad_request: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  not_acceptable: 406,
  conflict: 409,
  unavailable: 503,
};

/** The error in an acknowledgement, or in `access_ended`. */
export function toApiError({ error, message }: Refusal, { language }: Api): ApiError {
  return new ApiError(STATUS[error] ?? 500, error, errorText(language, { error }) ?? message);
}

type Command = keyof EventsToGateway;
type Request<C extends Command> = Parameters<EventsToGateway[C]>[0];
type Answer<C extends Command> = Exclude<Parameters<NonNullable<Parameters<EventsToGateway[C]>[1]>>[0], Refusal>;

/** Emit an event and return its acknowledgement. Throws ApiError if that is an error. */
export async function request<C extends Command>(
  api: Api,
  socket: Socket,
  command: C,
  data: Request<C>,
): Promise<Answer<C>> {
  // Socket.IO cannot infer the types of an event whose name is a type parameter.
  const untyped = socket as unknown as SocketIo;
  const answer = (await untyped.timeout(TIMEOUT_MS).emitWithAck(command, data)) as Answer<C> | Refusal;
  if ("error" in answer && typeof answer.error === "string") throw toApiError(answer as Refusal, api);
  return answer as Answer<C>;
}
