// Two entries, beside each other in web/static: player.js is the custom element, for anybody's page; player-page.js is our
// own page and imports it. What only some rungs need (hls.js, Socket.IO) comes in chunks of its own, when it is needed,
// from wherever player.js came from.

import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/** A .gz beside each file: the gateway sends it to whoever accepts it, and never compresses at run time. */
function precompressed(): Plugin {
  return {
    name: "precompressed",
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        for (const file of Object.values(bundle)) {
          const text = file.type === "chunk" ? file.code : file.source;
          this.emitFile({ type: "asset", fileName: `${file.fileName}.gz`, source: gzipSync(text, { level: 9 }) });
        }
      },
    },
  };
}

export default defineConfig({
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
      input: { player: "src/player.ts", "player-page": "src/page/main.ts" },
      preserveEntrySignatures: "allow-extension",
      output: { entryFileNames: "[name].js", chunkFileNames: "player-[name]-[hash].js" },
    },
  },
});
