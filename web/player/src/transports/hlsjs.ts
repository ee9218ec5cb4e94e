// hls.js, its light build (no subtitles, DRM or alternate audio: nothing of that is served here), in a chunk of its own.

import Hls from "hls.js/light";

export type { Fragment } from "hls.js";
export { Hls };
