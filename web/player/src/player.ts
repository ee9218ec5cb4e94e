// Entry point of player.js, which a gateway serves: players without `src` play its cameras.

import "./served-by.ts";

export * from "./index.ts";
