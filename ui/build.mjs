// Builds the page: bundles src/, names each file by a hash of its content, writes index.html with those names. What is
// imported with import() is a file of its own, fetched when it is needed.
//
//   node build.mjs [FOLDER] [--watch]     FOLDER: where to (default: taskbus/web/page of this checkout)
//
// index.html keeps one mark, __BASE__, which the server replaces by the path under which the page is mounted
// (it ends in "/"; it is "/" without a prefix).
import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build, context } from "esbuild";

const here = path.dirname(fileURLToPath(import.meta.url));
const flags = process.argv.slice(2);
const folder = path.resolve(flags.find((flag) => !flag.startsWith("--")) ?? path.join(here, "../taskbus/web/page"));

const options = {
  entryPoints: { app: path.join(here, "src/main.tsx") },
  absWorkingDir: here,
  bundle: true,
  splitting: true,
  external: ["./node_modules/preact-iso/src/prerender.js"], // an import() of preact-iso's that nobody calls
  format: "esm",
  target: ["es2022"],
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  legalComments: "eof",
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  outdir: path.join(folder, "assets"),
  metafile: true,
  logLevel: "warning",
  define: { "process.env.NODE_ENV": '"production"' },
};

function neededBy(file, outputs, known = new Set()) {
  for (const { path: name, kind } of outputs[file].imports) {
    if (kind !== "import-statement" || known.has(name)) continue;
    known.add(name);
    neededBy(name, outputs, known);
  }
  return [...known];
}

async function writeIndex(metafile) {
  const [script, entry] = Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint === "src/main.tsx");
  const icon = await readFile(path.join(here, "icon.svg"));
  const iconName = `icon-${createHash("sha256").update(icon).digest("hex").slice(0, 8).toUpperCase()}.svg`;
  await writeFile(path.join(folder, "assets", iconName), icon);
  const names = {
    __SCRIPT__: path.basename(script),
    __STYLE__: path.basename(entry.cssBundle),
    __ICON__: iconName,
  };
  let html = await readFile(path.join(here, "index.html"), "utf8");
  // what the script cannot do without is fetched along with it
  const needed = neededBy(script, metafile.outputs).map(
    (file) => `<link rel="modulepreload" href="__BASE__assets/${path.basename(file)}">`,
  );
  html = html.replace(/^( *)__NEEDED__\n/m, (_, indent) => needed.map((link) => `${indent}${link}\n`).join(""));
  for (const [mark, name] of Object.entries(names)) html = html.replaceAll(mark, name);
  await writeFile(path.join(folder, "index.html"), html);
}

await rm(folder, { recursive: true, force: true });
await mkdir(path.join(folder, "assets"), { recursive: true });
if (flags.includes("--watch")) {
  const rewrite = {
    name: "index",
    setup: (run) => run.onEnd((result) => result.metafile && writeIndex(result.metafile)),
  };
  await (await context({ ...options, minify: false, sourcemap: "inline", plugins: [rewrite] })).watch();
} else {
  await writeIndex((await build(options)).metafile);
}
