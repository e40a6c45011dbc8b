// Serves the page with a made-up server behind it, for work on the page and for screenshots.
//
//   node dev.mjs [--port 8099] [--page FOLDER] [--empty] [--role viewer] [--env staging]
//
// Builds src/ into a temporary folder and again when it changes, unless --page names a built page. The page is at / and
// at /prefix/. Each mock/*.mjs exports `routes`: [method, pattern, handler(match, query, body, world)]; what a handler
// returns is sent as JSON, what it throws as an error with its `status`. --empty answers as a new installation would.
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile } from "node:fs/promises";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const here = path.dirname(fileURLToPath(import.meta.url));
const { values: flags } = parseArgs({
  options: {
    port: { type: "string", default: "8099" },
    page: { type: "string" },
    empty: { type: "boolean", default: false },
    role: { type: "string", default: "admin" },
    env: { type: "string", default: "staging" },
  },
});

const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
  "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const KINDS = {
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".html": "text/html; charset=utf-8",
};

const page = flags.page ?? (await mkdtemp(path.join(os.tmpdir(), "taskbus-page-")));
if (!flags.page) {
  const builder = spawn(process.execPath, [path.join(here, "build.mjs"), page, "--watch"], { stdio: "inherit" });
  process.on("exit", () => builder.kill());
}

const modules = (await readdir(path.join(here, "mock"))).filter((name) => name.endsWith(".mjs")).sort();
const mocks = await Promise.all(modules.map((name) => import(pathToFileURL(path.join(here, "mock", name)).href)));
const routes = mocks.flatMap((mock) => mock.routes ?? []);
const world = { flags, isEmpty: flags.empty };

function send(response, status, body) {
  response.writeHead(status, { "Content-Type": "application/json", "Cache-Control": "no-store" });
  response.end(JSON.stringify(body));
}

function stream(response, view) {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  const snapshots = mocks.map((mock) => mock.snapshot).filter(Boolean);
  const tick = () => {
    const parts = Object.assign({}, ...snapshots.map((snapshot) => snapshot(view, world)));
    response.write(`event: snapshot\ndata: ${JSON.stringify(parts)}\n\n`);
  };
  tick();
  const timer = setInterval(tick, 1000);
  response.on("close", () => clearInterval(timer));
}

async function bodyOf(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text ? JSON.parse(text) : {};
}

async function answer(request, response, url, place) {
  if (place === "live") return stream(response, url.searchParams.get("view"));
  const body = request.method === "POST" ? await bodyOf(request) : {};
  for (const [method, pattern, handler] of routes) {
    const match = method === request.method && pattern.exec(place);
    if (!match) continue;
    const named = match.slice(1).map((each) => each && decodeURIComponent(each));
    try {
      return send(response, 200, await handler(named, url.searchParams, body, world));
    } catch (error) {
      return send(response, error.status ?? 500, { error: error.message, advice: error.advice ?? "" });
    }
  }
  return send(response, 404, { error: `There is no ${request.method} ${place}.`, advice: "Add it to ui/mock/." });
}

async function file(response, place, base) {
  const name = /^assets\/[\w.-]+$/.test(place) ? place : "index.html";
  try {
    let content = await readFile(path.join(page, name));
    if (name === "index.html") content = content.toString().replaceAll("__BASE__", base);
    response.writeHead(200, {
      "Content-Type": KINDS[path.extname(name)] ?? "application/octet-stream",
      "Content-Security-Policy": CSP,
    });
    response.end(content);
  } catch {
    response.writeHead(503, { "Content-Type": "text/plain", Refresh: "1" });
    response.end("The page is being built.");
  }
}

http
  .createServer((request, response) => {
    const url = new URL(request.url, "http://127.0.0.1");
    const base = url.pathname.startsWith("/prefix/") ? "/prefix/" : "/";
    const place = url.pathname.slice(base.length);
    const work = place.startsWith("api/v1/")
      ? answer(request, response, url, place.slice("api/v1/".length))
      : file(response, place, base);
    work.catch((error) => response.destroy(error));
  })
  .listen(Number(flags.port), "127.0.0.1", () => {
    process.stdout.write(`The page, with a made-up server: http://127.0.0.1:${flags.port}/\n`);
  });
