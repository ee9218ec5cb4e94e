// Entry point of player.js, which a gateway serves: players without `src` play its cameras.

import "./served-by.ts";

/** The recording of a camera that follows a clock, for the gateway's own page. Its code is loaded when it is first needed. */
export async function loadFollowedRecording() {
  return (await import("./followed-recording.ts")).FollowedRecording;
}

/** Tells the players what the page has heard of the cameras: they ask for none that is down. */
export { tellCameras } from "./core/camera-states.ts";
export type { FollowedRecording } from "./followed-recording.ts";
export * from "./index.ts";
