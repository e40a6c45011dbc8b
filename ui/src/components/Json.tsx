/** Values as a tree. Everything is a text node: what a task was given can never become markup. */
import { Copy } from "./Empty";

const MOST_ENTRIES = 200;
const OPEN_ENTRIES = 20;
const LONGEST_TEXT = 2000;

/** A value, or text that may be JSON (then it is read first). */
export function Json({ value, label = "Value" }: { value: unknown; label?: string }) {
  const read = typeof value === "string" ? parsed(value) : value;
  return (
    <div class="json" role="group" aria-label={label}>
      <Copy text={typeof value === "string" ? value : JSON.stringify(value, null, 2)} label={`Copy ${label}`} />
      <Value value={read} depth={0} />
    </div>
  );
}

function parsed(text: string): unknown {
  if (!/^\s*[[{]/.test(text)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text; // the server cut it, or it never was JSON
  }
}

function Value({ value, depth }: { value: unknown; depth: number }) {
  if (value !== null && typeof value === "object") return <Tree value={value} depth={depth} />;
  if (typeof value === "string") {
    const shown = value.length > LONGEST_TEXT ? `${value.slice(0, LONGEST_TEXT)}…` : value;
    return <span class="json-text">{depth ? JSON.stringify(shown) : shown}</span>;
  }
  return <span class={value === null ? "json-null" : "json-plain"}>{String(value)}</span>;
}

function Tree({ value, depth }: { value: object; depth: number }) {
  const isList = Array.isArray(value);
  const entries = Object.entries(value);
  const [left, right] = isList ? ["[", "]"] : ["{", "}"];
  if (entries.length === 0) return <span class="json-mark">{left + right}</span>;
  return (
    <details open={depth < 2 && entries.length <= OPEN_ENTRIES}>
      <summary>
        <span class="json-mark">{left}</span>
        <span class="faint">
          {entries.length} {isList ? "items" : "keys"}
        </span>
        <span class="json-mark">{right}</span>
      </summary>
      <ul>
        {entries.slice(0, MOST_ENTRIES).map(([key, entry]) => (
          <li key={key}>
            <span class={isList ? "json-index" : "json-key"}>{key}</span>
            <span class="json-mark">: </span>
            <Value value={entry} depth={depth + 1} />
          </li>
        ))}
        {entries.length > MOST_ENTRIES && <li class="faint">and {entries.length - MOST_ENTRIES} more</li>}
      </ul>
    </details>
  );
}
