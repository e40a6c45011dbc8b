// Bundles each test/*.test.ts(x) with esbuild and runs the bundles by node's own test runner.
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = path.dirname(fileURLToPath(import.meta.url));
const tests = (await readdir(path.join(here, "test"))).filter((name) => /\.test\.tsx?$/.test(name));
const folder = await mkdtemp(path.join(here, "node_modules/.tests-"));
try {
  await build({
    entryPoints: tests.map((name) => path.join(here, "test", name)),
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    jsx: "automatic",
    jsxImportSource: "preact",
    loader: { ".css": "empty" },
    outdir: folder,
    outExtension: { ".js": ".mjs" },
    logLevel: "warning",
  });
  const built = (await readdir(folder)).filter((name) => name.endsWith(".mjs"));
  const run = spawnSync(process.execPath, ["--test", ...built.map((name) => path.join(folder, name))], {
    stdio: "inherit",
  });
  process.exitCode = run.status ?? 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
