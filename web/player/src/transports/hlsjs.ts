// The light build of hls.js, in a chunk of its own. It has no subtitles, DRM or alternate audio; the gateway serves none.

import Hls from "hls.js/light";

export type { Fragment } from "hls.js";
export { Hls };
