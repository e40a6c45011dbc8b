/** The keyboard: single keys, and "g" followed by one. Nothing is taken while somebody types or a dialog is open. */
import { useEffect, useRef } from "preact/hooks";

type Act = (event: KeyboardEvent) => void;

const bound = new Map<string, Act[]>();
const SEQUENCE_WITHIN = 1200;
let prefix = "";
let prefixAt = 0;

function isTyping(target: EventTarget | null): boolean {
  const element = target as HTMLElement | null;
  return !!element?.closest?.("input, textarea, select, [contenteditable=true]");
}

export function press(event: KeyboardEvent): void {
  if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.altKey) {
    run("ctrl-k", event);
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  const after = prefix && Date.now() - prefixAt < SEQUENCE_WITHIN ? `${prefix} ${event.key}` : "";
  prefix = "";
  if (after && run(after, event)) return;
  if (event.key === "g") {
    prefix = "g";
    prefixAt = Date.now();
    return;
  }
  run(event.key, event);
}

function run(name: string, event: KeyboardEvent): boolean {
  const act = bound.get(name)?.at(-1);
  if (!act) return false;
  event.preventDefault();
  act(event);
  return true;
}

/**
 * Binds keys ("j", "g q", "ctrl-k", "?") while the component is shown; the one shown last wins. A fallback wins only
 * where there is nothing else: the layout is shown after the page inside it.
 */
export function useKeys(keys: Record<string, Act>, isFallback = false): void {
  const latest = useRef(keys);
  latest.current = keys;
  const names = Object.keys(keys).join("\n");
  useEffect(() => {
    const added = names.split("\n").map((name): [string, Act] => [name, (event) => latest.current[name]?.(event)]);
    for (const [name, act] of added) {
      const others = bound.get(name) ?? [];
      bound.set(name, isFallback ? [act, ...others] : [...others, act]);
    }
    return () => {
      for (const [name, act] of added) {
        bound.set(
          name,
          (bound.get(name) ?? []).filter((other) => other !== act),
        );
      }
    };
  }, [names]);
}

export function startKeys(): void {
  addEventListener("keydown", press);
}
