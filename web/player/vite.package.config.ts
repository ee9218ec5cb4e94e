// The package @liveedge/player: what a bundler imports. hls.js and Socket.IO stay dependencies, each imported by a chunk
// of its own when it is needed.
//
// The build fails if all modules of the package together exceed LIMIT_BYTES, compressed with gzip.

import { gzipSync } from "node:zlib";
import type { Plugin } from "vite";
import { defineConfig } from "vite";

const LIMIT_BYTES = 40_000;

function limitedSize(): Plugin {
  return {
    name: "limited-size",
    generateBundle(_, bundle) {
      const sizes = Object.values(bundle).map(
        (file) => gzipSync(file.type === "chunk" ? file.code : file.source).length,
      );
      const size = sizes.reduce((sum, one) => sum + one, 0);
      this.info(`${size} bytes with gzip, of ${LIMIT_BYTES}`);
      if (size > LIMIT_BYTES) this.error(`@liveedge/player has ${size} bytes with gzip: more than ${LIMIT_BYTES}`);
    },
  };
}

export default defineConfig({
  publicDir: false,
  plugins: [limitedSize()],
  build: {
    target: "es2022",
    modulePreload: false,
    reportCompressedSize: false,
    rolldownOptions: {
      input: { index: "src/index.ts", react: "src/react.ts" },
      external: [/^hls\.js/, /^socket\.io-client/, /^react$/],
      preserveEntrySignatures: "strict",
      output: {
        entryFileNames: "[name].js",
        chunkFileNames: ({ name }) => (name === "src" ? "player.js" : "[name].js"),
        // Frameworks that render on a server run the component in the browser only.
        banner: ({ name }) => (name === "react" ? '"use client";' : ""),
      },
    },
  },
});
