/** The search field of a list: the filter language of the server, with its keys and known values suggested. */
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { ApiError } from "../api";
import { useKeys } from "../keys";
import { term } from "../place";
import { Button } from "./Button";
import { Icon } from "./Icon";

export interface FilterKey {
  /** "state:", "age>"... as it is typed. */
  key: string;
  hint: string;
  /** Values to suggest behind the key. */
  values?: string[];
}

interface Props {
  value: string;
  onApply: (where: string) => void;
  keys: FilterKey[];
  placeholder?: string;
  /** What the list was answered with: a filter that the server cannot read is told of below the field. */
  error?: Error | null;
}

interface Suggestion {
  text: string;
  hint: string;
  isWhole: boolean;
}

const MOST = 10;

/** Where the word that ends at `caret` begins; a blank inside quotes does not end a word. */
export function wordStart(text: string, caret: number): number {
  let start = 0;
  let quote = "";
  for (let i = 0; i < caret; i++) {
    const letter = text[i] ?? "";
    if (quote) {
      if (letter === quote) quote = "";
    } else if (letter === '"' || letter === "'") quote = letter;
    else if (/\s/.test(letter)) start = i + 1;
  }
  return start;
}

/** What could stand in place of `word`: keys, or the values of the key that it begins with. */
export function suggest(word: string, keys: FilterKey[]): Suggestion[] {
  const key = keys.find((known) => known.values && word.startsWith(known.key));
  if (key?.values) {
    const typed = word.slice(key.key.length).toLowerCase();
    return key.values
      .filter((value) => value.toLowerCase().includes(typed) && value.toLowerCase() !== typed)
      .slice(0, MOST)
      .map((value) => ({ text: term(key.key.slice(0, -1), value), hint: "", isWhole: true }));
  }
  return keys
    .filter((known) => known.key.startsWith(word.toLowerCase()) && known.key !== word)
    .slice(0, MOST)
    .map((known) => ({ text: known.key, hint: known.hint, isWhole: false }));
}

export function FilterBar({ value, onApply, keys, placeholder = "Filter", error }: Props) {
  const [text, setText] = useState(value);
  const [isOpen, setOpen] = useState(false);
  const [at, setAt] = useState(-1);
  const [caret, setCaret] = useState(value.length);
  const field = useRef<HTMLInputElement>(null);
  const list = useId();
  useEffect(() => setText(value), [value]);
  useKeys({ "/": () => field.current?.focus() });

  const start = wordStart(text, caret);
  const suggestions = isOpen ? suggest(text.slice(start, caret), keys) : [];
  const apply = (next: string) => {
    setText(next);
    setOpen(false);
    setAt(-1);
    onApply(next.trim());
  };
  const take = (suggestion: Suggestion) => {
    const next = text.slice(0, start) + suggestion.text + (suggestion.isWhole ? " " : "") + text.slice(caret);
    setText(next);
    setAt(-1);
    const end = start + suggestion.text.length + (suggestion.isWhole ? 1 : 0);
    setCaret(end);
    requestAnimationFrame(() => {
      field.current?.focus();
      field.current?.setSelectionRange(end, end);
    });
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!suggestions.length) return setOpen(true);
      event.preventDefault();
      const by = event.key === "ArrowDown" ? 1 : -1;
      setAt((at + by + suggestions.length + (at < 0 && by < 0 ? 1 : 0)) % suggestions.length);
    } else if (event.key === "Enter" || (event.key === "Tab" && at >= 0)) {
      event.preventDefault();
      const chosen = suggestions[at];
      if (chosen) take(chosen);
      else apply(text);
    } else if (event.key === "Escape") {
      if (isOpen && suggestions.length) setOpen(false);
      else field.current?.blur();
    }
  };
  const wrong = error && isUnreadable(error) ? error : null;
  const follow = () => setCaret(field.current?.selectionStart ?? text.length);
  return (
    <search class="filter">
      <div class={wrong ? "filter-field filter-wrong" : "filter-field"}>
        <Icon name="search" />
        <input
          ref={field}
          type="text"
          role="combobox"
          data-testid="filter"
          aria-label="Filter"
          aria-invalid={wrong ? true : undefined}
          aria-describedby={wrong ? `${list}-wrong` : undefined}
          aria-autocomplete="list"
          aria-expanded={suggestions.length > 0}
          aria-controls={list}
          aria-activedescendant={at >= 0 ? `${list}-${at}` : undefined}
          placeholder={placeholder}
          value={text}
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          onInput={(event) => {
            setText(event.currentTarget.value);
            setOpen(true);
            setAt(-1);
            follow();
          }}
          onFocus={() => setOpen(true)}
          onBlur={() => setOpen(false)}
          onClick={follow}
          onKeyUp={follow}
          onKeyDown={onKey}
        />
        {text && <Button kind="quiet" icon="close" label="Clear the filter" onClick={() => apply("")} />}
        <kbd class="filter-key">/</kbd>
      </div>
      <div class="filter-list" id={list} role="listbox" aria-label="Suggestions" hidden={suggestions.length === 0}>
        {suggestions.map((suggestion, i) => (
          // biome-ignore lint/a11y/useFocusableInteractive: the field keeps the focus and names the active option
          // biome-ignore lint/a11y/useKeyWithClickEvents: Enter in the field takes it
          <div
            key={suggestion.text}
            id={`${list}-${i}`}
            role="option"
            aria-selected={i === at}
            onMouseDown={(event) => event.preventDefault()}
            onClick={() => take(suggestion)}
          >
            <code>{suggestion.text}</code>
            <span class="faint">{suggestion.hint}</span>
          </div>
        ))}
      </div>
      {wrong && (
        <p class="filter-error" id={`${list}-wrong`} role="alert">
          <Icon name="warning" />
          <span>
            {wrong.message} {wrong.advice}
          </span>
        </p>
      )}
    </search>
  );
}

/** Whether the server could not read the filter. */
export function isUnreadable(error: Error): error is ApiError {
  return error instanceof ApiError && (error.status === 400 || error.status === 422);
}

/** The field of a list that is whole: what is typed narrows the rows at once, and stands in the URL. */
export function QuickFilter({
  value,
  onChange,
  label,
}: {
  value: string;
  onChange: (value: string) => void;
  label: string;
}) {
  const field = useRef<HTMLInputElement>(null);
  useKeys({ "/": () => field.current?.focus() });
  return (
    <search class="filter filter-quick">
      <div class="filter-field">
        <Icon name="search" />
        <input
          ref={field}
          type="text"
          aria-label={label}
          placeholder={label}
          value={value}
          autocomplete="off"
          spellcheck={false}
          onInput={(event) => onChange(event.currentTarget.value)}
          onKeyDown={(event) => event.key === "Escape" && field.current?.blur()}
        />
        <kbd class="filter-key">/</kbd>
      </div>
    </search>
  );
}
