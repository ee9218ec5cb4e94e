// Four builds, side by side in web/static. player.js is the custom element for any page, complete in one file. What only
// some transports need (hls.js, Socket.IO) is in chunks that are loaded when they are needed, from the origin of
// player.js. player-page.js (`--mode page`) is the gateway's own page, and imports player.js as any page does.
// player-publish.js (`--mode publish`) is the page that publishes a camera, and player-service-worker.js (`--mode worker`)
// the page's service worker; both are complete in one file, too.

import { gzipSync } from "node:zlib";
import type { Plugin } from "vite";
import { defineConfig } from "vite";

/** Writes a .gz beside each file: the gateway sends it to clients that accept it, and never compresses at run time. */
function precompressed(): Plugin {
  return {
    name: "precompressed",
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        for (const file of Object.values(bundle)) {
          const content = file.type === "chunk" ? file.code : file.source;
          this.emitFile({ type: "asset", fileName: `${file.fileName}.gz`, source: gzipSync(content, { level: 9 }) });
        }
      },
    },
  };
}

const INPUTS: Record<string, [name: string, source: string]> = {
  page: ["player-page", "src/page/main.ts"],
  publish: ["player-publish", "src/publish/main.ts"],
  worker: ["player-service-worker", "src/service-worker/main.ts"],
};

export default defineConfig(({ mode }) => {
  const [name, source] = INPUTS[mode] ?? ["player", "src/player.ts"];
  return {
    base: "./",
    publicDir: false,
    plugins: [precompressed()],
    build: {
      outDir: "../static",
      emptyOutDir: false,
      target: "es2022",
      modulePreload: false,
      reportCompressedSize: false,
      rolldownOptions: {
        input: { [name]: source },
        external: mode === "page" ? [/\/player\.ts$/] : [],
        preserveEntrySignatures: "allow-extension",
        output: {
          entryFileNames: "[name].js",
          chunkFileNames: "player-[name]-[hash].js",
          paths: (id) => (id.endsWith("/player.ts") ? "./player.js" : id),
        },
      },
    },
  };
});
