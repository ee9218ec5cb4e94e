// The gateway that serves player.js. It is set before the element is defined.

import { LiveEdgePlayer } from "./element.ts";

// In a variable, because the bundler would treat a literal as an asset.
const SCRIPT_URL = import.meta.url;
LiveEdgePlayer.defaultSrc = new URL("..", SCRIPT_URL).href.replace(/\/$/, "");
