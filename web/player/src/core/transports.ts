// The transports by name, best first, and the ways in which one fails.

import type { MessageKey } from "./i18n.ts";

export const TRANSPORTS = ["webrtc", "hls", "jpeg", "mjpeg"] as const;
export type TransportName = (typeof TRANSPORTS)[number];

export type FailureKind =
  | "unsupported" // this transport cannot play this camera, or not in this browser
  | "unavailable" // 503: the camera has no media, on any transport
  | "unauthorized" // 401 or 403
  | "notFound" // 404: there is no such camera
  | "unreachable" // the gateway does not answer at all
  | "connectionLost" // the connection, the server or the media failed
  | "timeout" // no first frame in time
  | "stalled"; // frames stopped

export interface Failure {
  kind: FailureKind;
  /** A sentence from the server, or empty. */
  message: string;
  /** A reason that the player itself knows. It is shown in the viewer's language, instead of `message`. */
  messageKey?: MessageKey;
  /** The HTTP status. */
  status?: number;
  /** The camera's state, if the camera is the cause. */
  state?: string;
}
