// A message missing in one language, one that does not parse, one with other arguments than its twin, one that the source
// asks for and nobody wrote: each fails the build.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { IntlMessageFormat } from 'intl-messageformat';

const root = new URL('..', import.meta.url).pathname;
const locales = ['zh-CN', 'en'];
const read = (locale) => JSON.parse(readFileSync(join(root, 'src/lib/i18n', `${locale}.json`), 'utf8'));
const words = Object.fromEntries(locales.map((l) => [l, read(l)]));
const problems = [];

/** The names of a message's arguments, also those inside plurals. */
function args(ast, found = new Set()) {
  for (const node of ast) {
    if (node.type !== 0 && node.type !== 7) found.add(node.value);
    for (const option of Object.values(node.options ?? {})) args(option.value, found);
  }
  return found;
}

const [first, ...rest] = locales;
for (const key of new Set(locales.flatMap((l) => Object.keys(words[l])))) {
  const signatures = new Map();
  for (const locale of locales) {
    const text = words[locale][key];
    if (typeof text !== 'string' || text.trim() === '') {
      problems.push(`${locale}.json lacks "${key}"`);
      continue;
    }
    try {
      signatures.set(locale, [...args(new IntlMessageFormat(text, locale).getAst())].sort().join(','));
    } catch (error) {
      problems.push(`${locale}.json: "${key}" does not parse: ${error.message}`);
    }
  }
  for (const other of rest) {
    if (signatures.has(first) && signatures.has(other) && signatures.get(first) !== signatures.get(other)) {
      problems.push(`"${key}" takes {${signatures.get(first)}} in ${first} but {${signatures.get(other)}} in ${other}`);
    }
  }
}

const walk = (dir) =>
  readdirSync(dir, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? walk(join(dir, e.name)) : [join(dir, e.name)]));
let used = 0;
for (const path of walk(join(root, 'src')).filter((p) => /\.(svelte|ts)$/.test(p) && !p.includes('generated'))) {
  const source = readFileSync(path, 'utf8');
  for (const [, key] of source.matchAll(/\bt\(\s*'([^']+)'/g)) {
    used += 1;
    if (!(key in words[first])) problems.push(`${path.slice(root.length)} asks for "${key}", which nobody wrote`);
  }
  // A key made at run time must have words for its prefix: `state.${...}`.
  for (const [, prefix] of source.matchAll(/\bt\(\s*`([^$`]+)\$\{/g)) {
    used += 1;
    if (!Object.keys(words[first]).some((k) => k.startsWith(prefix))) problems.push(`${path.slice(root.length)}: no words begin with "${prefix}"`);
  }
}

if (problems.length > 0) {
  console.error(problems.join('\n'));
  console.error(`i18n: ${problems.length} problems`);
  process.exit(1);
}
console.log(`i18n: ${Object.keys(words[first]).length} messages in ${locales.join(' and ')}, ${used} uses checked`);
