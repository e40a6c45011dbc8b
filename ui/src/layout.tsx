/** What surrounds every page: navigation, who and where, whether it is live, and the dialogs that any page may open. */

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { Button } from "./components/Button";
import { Questions } from "./components/Dialog";
import { Help } from "./components/Help";
import { Icon } from "./components/Icon";
import { Palette } from "./components/Palette";
import { useRowKeys } from "./components/Table";
import { Toasts } from "./components/Toasts";
import { useKeys } from "./keys";
import { type Health, health } from "./live";
import { base, to } from "./place";
import { me } from "./session";
import { isDark, isPaused, toggleTheme } from "./settings";
import { PAGES } from "./sitemap";

const HEALTH: Record<Health, string> = {
  off: "Refreshing",
  connecting: "Connecting…",
  live: "Live",
  lost: "Connection lost, trying again",
};

export function Layout({ children }: { children: ComponentChildren }) {
  const { path, route } = useLocation();
  const [open, setOpen] = useState<"palette" | "help" | null>(null);
  const [hasMenu, setMenu] = useState(false);
  useEffect(() => setMenu(false), [path]);
  useRowKeys();
  useKeys(
    {
      ...Object.fromEntries(
        PAGES.filter((page) => page.key).map((page) => [`g ${page.key}`, () => route(to(page.path))]),
      ),
      "ctrl-k": () => setOpen("palette"),
      "?": () => setOpen("help"),
      "/": () => setOpen("palette"),
      r: () => {
        isPaused.value = !isPaused.value;
      },
    },
    true,
  );
  return (
    <div class={hasMenu ? "layout layout-menu" : "layout"}>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="top">
        <button
          type="button"
          class="button button-quiet button-icon top-menu"
          aria-expanded={hasMenu}
          aria-controls="navigation"
          aria-label="Navigation"
          onClick={() => setMenu(!hasMenu)}
        >
          <Icon name={hasMenu ? "close" : "menu"} />
        </button>
        <a class="brand" href={base} aria-label="TaskBus: overview">
          <Mark />
          <span>TaskBus</span>
        </a>
        <Where />
        <button type="button" class="top-search" aria-label="Go to… Ctrl K" onClick={() => setOpen("palette")}>
          <Icon name="search" />
          <span>Go to…</span>
          <kbd>Ctrl K</kbd>
        </button>
        <div class="top-right">
          <LiveDot />
          <Button
            kind="quiet"
            icon={isPaused.value ? "play" : "pause"}
            label={isPaused.value ? "Go on refreshing (r)" : "Stop refreshing (r)"}
            testid="pause-refresh"
            onClick={() => {
              isPaused.value = !isPaused.value;
            }}
          />
          <Button
            kind="quiet"
            icon={isDark.value ? "sun" : "moon"}
            label={isDark.value ? "Light theme" : "Dark theme"}
            testid="theme"
            onClick={toggleTheme}
          />
          <Button kind="quiet" icon="help" label="Keyboard help (?)" onClick={() => setOpen("help")} />
        </div>
      </header>
      <nav class="side" id="navigation" aria-label="Pages">
        <div class="side-inner">
          <ul>
            {PAGES.map((page) => (
              <li key={page.path}>
                <a href={to(page.path)} aria-current={isCurrent(path, page.path) ? "page" : undefined}>
                  <Icon name={page.icon} />
                  <span>{page.title}</span>
                </a>
              </li>
            ))}
          </ul>
          <User />
        </div>
      </nav>
      <main id="main" tabIndex={-1}>
        {children}
      </main>
      {open === "palette" && <Palette onClose={() => setOpen(null)} />}
      {open === "help" && <Help onClose={() => setOpen(null)} />}
      <Questions />
      <Toasts />
    </div>
  );
}

function isCurrent(path: string, page: string): boolean {
  const below = `${path}/`.slice(base.length);
  return page === "" ? below.replaceAll("/", "") === "" : below.startsWith(`${page}/`);
}

function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" width="24" height="24" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="8" />
      <path d="M7 10h12M7 16h7M7 22h14" />
      <circle cx="24" cy="10" r="2.6" />
      <circle cx="19.5" cy="16" r="2.6" />
      <circle class="mark-live" cx="25.5" cy="22" r="2.6" />
    </svg>
  );
}

/** The application and its environment; production stands out. */
function Where() {
  const known = me.value;
  if (!known) return null;
  const isProduction = /^(prod|live)/i.test(known.environment);
  return (
    <div class="where">
      {known.environment && (
        <span class={`environment${isProduction ? " environment-production" : ""}`}>{known.environment}</span>
      )}
      <span class="where-app">{known.app}</span>
    </div>
  );
}

function LiveDot() {
  const state = isPaused.value ? "paused" : health.value;
  const text = isPaused.value ? "Paused" : HEALTH[health.value];
  return (
    <span class={`live live-${state}`} role="status" title={text}>
      <span class="live-dot" aria-hidden="true" />
      <span class="live-text">{state === "lost" ? "Offline" : text}</span>
    </span>
  );
}

function User() {
  const known = me.value;
  if (!known) return null;
  return (
    <div class="user">
      {known.auth !== "none" && (
        <p>
          {known.user} <span class="faint">{known.role}</span>
        </p>
      )}
      <p class="faint">
        {known.read_only ? "Read-only · " : ""}TaskBus {known.version}
      </p>
    </div>
  );
}
