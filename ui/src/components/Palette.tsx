/** The command palette: pages, queues, workers, task types, an id or words to search for, by a few letters. */

import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { api } from "../api";
import { at, term, to } from "../place";
import { isPaused, toggleTheme } from "../settings";
import { PAGES } from "../sitemap";
import { Dialog } from "./Dialog";
import { Icon, type IconName } from "./Icon";

interface Entry {
  text: string;
  kind: string;
  icon: IconName;
  go: () => void;
}

const MOST = 12;

/** How well `text` answers `typed`: 0 not at all; the start of a word beats the middle of one. */
export function fit(text: string, typed: string): number {
  const [whole, part] = [text.toLowerCase(), typed.toLowerCase().trim()];
  if (!part) return 1;
  const place = whole.indexOf(part);
  if (place >= 0) return place === 0 ? 4 : /[\s._/-]/.test(whole[place - 1] ?? "") ? 3 : 2;
  let from = 0;
  for (const letter of part) {
    from = whole.indexOf(letter, from) + 1;
    if (from === 0) return 0;
  }
  return 1;
}

function useEntries(route: (url: string) => void): Entry[] {
  const [named, setNamed] = useState<Entry[]>([]);
  useEffect(() => {
    const stopping = new AbortController();
    const asked = [
      api
        .queues(stopping.signal)
        .then((list) =>
          list.items.map(
            (q): Entry => ({ text: q.name, kind: "Queue", icon: "queues", go: () => route(at.queue(q.name)) }),
          ),
        ),
      api
        .nodes(stopping.signal)
        .then((list) =>
          list.items.map(
            (n): Entry => ({ text: n.name, kind: "Worker", icon: "workers", go: () => route(at.worker(n.name)) }),
          ),
        ),
      api
        .types("1h", stopping.signal)
        .then((list) =>
          list.items.map(
            (t): Entry => ({ text: t.task, kind: "Task type", icon: "types", go: () => route(at.type(t.task)) }),
          ),
        ),
    ];
    // what cannot be fetched is left out: the palette still goes to pages
    for (const entries of asked) entries.then((fresh) => setNamed((before) => [...before, ...fresh])).catch(() => {});
    return () => stopping.abort();
  }, []);
  const fixed = PAGES.map(
    (page): Entry => ({ text: page.title, kind: "Page", icon: page.icon, go: () => route(to(page.path)) }),
  );
  return [
    ...fixed,
    { text: "Switch between light and dark", kind: "Command", icon: "moon", go: toggleTheme },
    {
      text: isPaused.value ? "Go on refreshing" : "Stop refreshing",
      kind: "Command",
      icon: isPaused.value ? "play" : "pause",
      go: () => {
        isPaused.value = !isPaused.value;
      },
    },
    ...named,
  ];
}

export function Palette({ onClose }: { onClose: () => void }) {
  const { route } = useLocation();
  const [typed, setTyped] = useState("");
  const [chosen, setChosen] = useState(0);
  const list = useId();
  const field = useRef<HTMLInputElement>(null);
  const entries = useEntries(route);
  const found = useMemo(() => {
    const fitting = entries
      .map((entry) => ({ entry, score: fit(entry.text, typed) }))
      .filter(({ score }) => score > 0)
      .sort((a, b) => b.score - a.score)
      .map(({ entry }) => entry);
    const words = typed.trim();
    if (!words) return fitting.slice(0, MOST);
    const isId = /^[0-9a-f-]{16,}$/i.test(words);
    const search: Entry = isId
      ? { text: `Open task ${words}`, kind: "Task", icon: "tasks", go: () => route(at.task(words)) }
      : {
          text: `Search tasks for “${words}”`,
          kind: "Search",
          icon: "search",
          go: () => route(at.tasks(/^\w+[:<>]/.test(words) ? words : term("text", words))),
        };
    return isId ? [search, ...fitting].slice(0, MOST) : [...fitting.slice(0, MOST - 1), search];
  }, [entries, typed]);
  useEffect(() => field.current?.focus(), []);

  const take = (entry: Entry | undefined) => {
    if (!entry) return;
    onClose();
    entry.go();
  };
  const onKey = (event: KeyboardEvent) => {
    const by = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (by) {
      event.preventDefault();
      setChosen((chosen + by + found.length) % found.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      take(found[chosen]);
    }
  };
  return (
    <Dialog title="Go to" onClose={onClose}>
      <div class="palette">
        <input
          ref={field}
          type="text"
          role="combobox"
          aria-label="Page, queue, worker, task type, or id of a task"
          aria-expanded="true"
          aria-controls={list}
          aria-activedescendant={`${list}-${chosen}`}
          placeholder="Page, queue, worker, task type, or id of a task"
          value={typed}
          autocomplete="off"
          spellcheck={false}
          onInput={(event) => {
            setTyped(event.currentTarget.value);
            setChosen(0);
          }}
          onKeyDown={onKey}
        />
        <div class="palette-list" id={list} role="listbox" aria-label="Where to">
          {found.map((entry, i) => (
            // biome-ignore lint/a11y/useFocusableInteractive: the field keeps the focus and names the active option
            // biome-ignore lint/a11y/useKeyWithClickEvents: Enter in the field takes it
            <div
              key={entry.kind + entry.text}
              id={`${list}-${i}`}
              role="option"
              aria-selected={i === chosen}
              onMouseMove={() => setChosen(i)}
              onClick={() => take(entry)}
            >
              <Icon name={entry.icon} />
              <span class="palette-text">{entry.text}</span>
              <span class="faint">{entry.kind}</span>
            </div>
          ))}
        </div>
      </div>
    </Dialog>
  );
}
