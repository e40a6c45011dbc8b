// Builds the page: bundles src/, names each file by a hash of its content, writes index.html with those names.
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
  format: "esm",
  target: ["es2022"],
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  legalComments: "eof",
  entryNames: "[name]-[hash]",
  outdir: path.join(folder, "assets"),
  metafile: true,
  logLevel: "warning",
  define: { "process.env.NODE_ENV": '"production"' },
};

async function writeIndex(metafile) {
  const built = Object.keys(metafile.outputs).map((file) => path.basename(file));
  const icon = await readFile(path.join(here, "icon.svg"));
  const iconName = `icon-${createHash("sha256").update(icon).digest("hex").slice(0, 8).toUpperCase()}.svg`;
  await writeFile(path.join(folder, "assets", iconName), icon);
  const names = {
    __SCRIPT__: built.find((name) => name.endsWith(".js")),
    __STYLE__: built.find((name) => name.endsWith(".css")),
    __ICON__: iconName,
  };
  let html = await readFile(path.join(here, "index.html"), "utf8");
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
