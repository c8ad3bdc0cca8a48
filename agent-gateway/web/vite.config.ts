import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

/** Files smaller than this gain nothing from compression. */
const BROTLI_MIN_BYTES = 1024;

/** Writes `FILE.br` beside every text asset; the server sends it to browsers that accept it. */
function brotli(): Plugin {
  const walk = (dir: string): string[] =>
    readdirSync(dir).filter((name) => !name.startsWith('.')).flatMap((name) => {
      const path = join(dir, name);
      return statSync(path).isDirectory() ? walk(path) : [path];
    });
  let out = '';
  return {
    name: 'zongji-brotli',
    apply: 'build',
    configResolved(config) {
      out = join(config.root, config.build.outDir);
    },
    closeBundle() {
      for (const path of walk(out).filter((p) => /\.(js|css|html|svg|json|webmanifest)$/.test(p))) {
        const bytes = readFileSync(path);
        if (bytes.length < BROTLI_MIN_BYTES) continue;
        const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
        writeFileSync(`${path}.br`, brotliCompressSync(bytes, { params }));
      }
    },
  };
}

// `npm run dev` and `npm run preview` speak to a running server.
const server = process.env['ZONGJI_URL'] ?? 'http://127.0.0.1:8080';
const proxy = { '/api': { target: server }, '/ws': { target: server, ws: true } };

export default defineConfig({
  define: { __BUILD__: JSON.stringify(process.env['npm_package_version'] ?? 'dev') },
  plugins: [svelte(), brotli()],
  build: { target: ['chrome123', 'firefox128', 'safari17.5'], manifest: true, sourcemap: false, assetsInlineLimit: 0 },
  server: { host: '127.0.0.1', port: 16600, strictPort: true, proxy },
  preview: { host: '127.0.0.1', port: 16601, strictPort: true, proxy },
  test: { include: ['src/**/*.test.ts'], environment: 'node', reporters: ['default', './scripts/reporter.mjs'] },
});
