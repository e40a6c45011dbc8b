/** Views to go to with a click: some that everybody needs, and those that were saved in this browser. */
import { useEffect, useRef, useState } from "preact/hooks";
import { Button } from "../../components/Button";
import { Icon } from "../../components/Icon";
import { dropView, keepView, savedViews, type View } from "./saved";

const BUILT_IN: View[] = [
  { name: "Failures of the last hour", where: "state:FAILURE age<1h", sort: "newest" },
  { name: "Being tried again", where: "state:RETRY age<1h", sort: "newest" },
  { name: "Slowest of the last day", where: "age<1d", sort: "slowest" },
  { name: "Waited longer than a minute", where: "waited>1m age<1d", sort: "longest_wait" },
];

interface Props {
  where: string;
  sort: string;
  onOpen: (view: View) => void;
}

export function Views({ where, sort, onOpen }: Props) {
  const [views, setViews] = useState(() => savedViews(localStorage));
  const [name, setName] = useState("");
  const menu = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const close = (event: Event) => {
      const isKey = event instanceof KeyboardEvent;
      if (isKey ? event.key !== "Escape" : menu.current?.contains(event.target as Element)) return;
      if (isKey && menu.current?.open) menu.current.querySelector("summary")?.focus();
      menu.current?.removeAttribute("open");
    };
    for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, close);
    return () => {
      for (const kind of ["pointerdown", "keydown"]) removeEventListener(kind, close);
    };
  }, []);
  const go = (view: View) => {
    menu.current?.removeAttribute("open");
    onOpen(view);
  };
  const save = (event: Event) => {
    event.preventDefault();
    if (!name.trim()) return;
    setViews(keepView(localStorage, { name: name.trim(), where, sort }));
    setName("");
  };
  return (
    <details class="menu" ref={menu}>
      <summary class="button">
        Views <Icon name="down" />
      </summary>
      <div class="menu-body">
        <ul>
          {BUILT_IN.map((view) => (
            <Entry key={view.name} view={view} onOpen={go} />
          ))}
          {views.map((view) => (
            <Entry
              key={`own ${view.name}`}
              view={view}
              onOpen={go}
              onDrop={() => setViews(dropView(localStorage, view.name))}
            />
          ))}
        </ul>
        <form class="menu-form" onSubmit={save}>
          <input
            aria-label="Name for this view"
            placeholder="Save this view as…"
            maxLength={80}
            value={name}
            onInput={(event) => setName(event.currentTarget.value)}
          />
          <button type="submit" class="button" disabled={!name.trim()}>
            Save
          </button>
        </form>
      </div>
    </details>
  );
}

function Entry({ view, onOpen, onDrop }: { view: View; onOpen: (view: View) => void; onDrop?: () => void }) {
  return (
    <li>
      <button type="button" class="menu-entry" onClick={() => onOpen(view)}>
        {view.name}
        <code>{view.where || "everything"}</code>
      </button>
      {onDrop && <Button kind="quiet" icon="trash" label={`Forget the view ${view.name}`} onClick={onDrop} />}
    </li>
  );
}
