/** Dialogs: a frame for forms, and the question before a change. */
import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { grouped } from "../format";
import { complain, dismiss, toasts } from "../toasts";
import { Button } from "./Button";

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  /** The buttons; the browser focuses the first field, or else the first of these. */
  foot?: ComponentChildren;
  isWide?: boolean;
}

/** A modal dialog; Escape, the cross and a click beside it close it, and the focus goes back where it was. */
export function Dialog({ title, onClose, children, foot, isWide }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    // The browser would focus the cross; what is to be filled in or answered comes first.
    const first = dialog.current?.querySelector<HTMLElement>(
      ".dialog-body :is(input, select, textarea), .dialog-foot button:not(:disabled)",
    );
    first?.focus();
    return () => before instanceof HTMLElement && before.focus();
  }, []);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes it, by the browser
    <dialog
      ref={dialog}
      class={isWide ? "dialog dialog-wide" : "dialog"}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => event.target === dialog.current && onClose()}
    >
      <div class="dialog-frame">
        <header class="dialog-head">
          <h2 id={heading}>{title}</h2>
          <Button kind="quiet" icon="close" label="Close" onClick={onClose} />
        </header>
        <div class="dialog-body">
          {children}
          <Troubles />
        </div>
        {foot && <footer class="dialog-foot">{foot}</footer>}
      </div>
    </dialog>
  );
}

/** Errors that came while the dialog is open: the page's notes lie behind it, where nobody reads or closes them. */
function Troubles() {
  const first = useRef((toasts.value.at(-1)?.id ?? 0) + 1).current;
  const shown = useRef<number[]>([]);
  const troubles = toasts.value.filter((toast) => toast.kind === "error" && toast.id >= first);
  useEffect(() => {
    shown.current = troubles.map((toast) => toast.id);
  });
  useEffect(() => () => shown.current.forEach(dismiss), []);
  if (!troubles.length) return null;
  return (
    <div>
      {troubles.map((toast) => (
        <p key={toast.id} class="field-error" role="alert">
          {toast.text} {toast.advice}
        </p>
      ))}
    </div>
  );
}

interface Question {
  title: string;
  /** What will happen, in a sentence. */
  text: ComponentChildren;
  /** The verb on the button: "Purge", "Stop worker". */
  verb: string;
  isDanger?: boolean;
  /** Asks the server how many would change; the button waits for the answer and says it. */
  count?: () => Promise<number>;
  /** What is counted: ["message", "messages"]. */
  counted?: [string, string];
  /** A word that must be typed first, for what cannot be taken back. */
  typed?: string;
}

const asked = signal<(Question & { answer: (yes: boolean) => void }) | null>(null);

/** Asks before a change; true if the reader said yes. With `count`, they see how many it would touch first. */
export function confirm(question: Question): Promise<boolean> {
  asked.value?.answer(false);
  return new Promise((resolve) => {
    asked.value = {
      ...question,
      answer: (yes) => {
        asked.value = null;
        resolve(yes);
      },
    };
  });
}

/** Where `confirm` asks; the layout shows it once. */
export function Questions() {
  const question = asked.value;
  return question && <Ask key={question.title} {...question} />;
}

function Ask({ title, text, verb, isDanger, count, counted, typed, answer }: NonNullable<typeof asked.value>) {
  const [number, setNumber] = useState<number | null>(null);
  const [word, setWord] = useState("");
  const field = useId();
  useEffect(() => {
    count?.().then(setNumber, (error) => {
      complain(error);
      answer(false);
    });
  }, []);
  const isReady = (!count || (number !== null && number > 0)) && (!typed || word === typed);
  const foot = (
    <>
      <Button onClick={() => answer(false)}>Cancel</Button>
      <Button kind={isDanger ? "danger" : "main"} onClick={() => answer(true)} disabled={!isReady} testid="confirm">
        {count && number !== null ? `${verb} ${grouped(number)}` : verb}
      </Button>
    </>
  );
  return (
    <Dialog title={title} onClose={() => answer(false)} foot={foot}>
      <div>{text}</div>
      {count && (
        <p class="dry-run" role="status">
          {number === null ? (
            "Counting…"
          ) : (
            <>
              This touches <strong>{grouped(number)}</strong> {counted?.[number === 1 ? 0 : 1] ?? ""}.
            </>
          )}
        </p>
      )}
      {typed && (
        <div class="field">
          <label for={field}>
            Type <code>{typed}</code> to go on
          </label>
          <input id={field} value={word} onInput={(event) => setWord(event.currentTarget.value)} autocomplete="off" />
        </div>
      )}
    </Dialog>
  );
}
