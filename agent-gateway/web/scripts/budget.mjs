// The gzip size of each route's JavaScript against its budget (desktop.md, "Stack").
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const KB = 1024;
// `page` counts what the route loads before it works: its chunk and every static import; the words of one language too.
const BUDGETS = [
  { name: 'agent', entries: ['index.html'], kb: 90 },
  { name: 'board', entries: ['index.html', 'src/routes/Board.svelte'], kb: 100 },
  { name: 'callbacks', entries: ['index.html', 'src/routes/Callbacks.svelte'], kb: 100 },
  { name: 'voicemails', entries: ['index.html', 'src/routes/Voicemails.svelte'], kb: 100 },
  { name: 'reports', entries: ['index.html', 'src/routes/Reports.svelte'], kb: 100 },
  { name: 'history', entries: ['index.html', 'src/routes/History.svelte'], kb: 110 },
];
const dist = new URL('../dist', import.meta.url).pathname;
const manifestPath = join(dist, '.vite/manifest.json');
if (!existsSync(manifestPath)) {
  if (process.argv.includes('--if-built')) process.exit(0);
  console.error('budget: there is no build; run `npm run build`');
  process.exit(1);
}
const manifest = JSON.parse(readFileSync(manifestPath, 'utf8'));
const sizes = new Map();
const gzip = (file) => {
  if (!sizes.has(file)) sizes.set(file, gzipSync(readFileSync(join(dist, file)), { level: 9 }).length);
  return sizes.get(file);
};
function files(entry, found = new Set()) {
  const chunk = manifest[entry];
  if (!chunk) throw new Error(`the build has no ${entry}`);
  if (chunk.file.endsWith('.js')) found.add(chunk.file);
  for (const next of chunk.imports ?? []) files(next, found);
  return found;
}
const languages = ['src/lib/i18n/zh-CN.json', 'src/lib/i18n/en.json'].map((entry) => gzip(manifest[entry].file));
let failed = false;
for (const { name, entries, kb } of BUDGETS) {
  const all = new Set(entries.flatMap((entry) => [...files(entry)]));
  const bytes = [...all].reduce((sum, file) => sum + gzip(file), 0) + Math.max(...languages);
  const ok = bytes <= kb * KB;
  failed ||= !ok;
  console.log(`budget: ${name} ${(bytes / KB).toFixed(1)} KB of ${kb} KB gzip${ok ? '' : ': too large'}`);
}
process.exit(failed ? 1 : 0);
