/** A task's arguments in an editor, to send it again with others. */
import { useId, useMemo, useState } from "preact/hooks";
import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { draftOf, type Edited, editedOf, wrongWith } from "./arguments";

interface Props {
  title: string;
  /** What the button says: "Send again". */
  verb: string;
  args: string;
  kwargs: string;
  /** Whether the message is gone, so that all of its arguments must be given; else what is not changed is left out. */
  needsAll?: boolean;
  /** What else is to be known before editing. */
  note?: string;
  onClose: () => void;
  /** Sends; true if it was sent, and the dialog may close. */
  onSend: (edited: Edited) => Promise<boolean>;
}

export function ArgumentsDialog({ title, verb, args, kwargs, needsAll = false, note = "", onClose, onSend }: Props) {
  const draft = useMemo(() => draftOf(args, kwargs, needsAll), [args, kwargs, needsAll]);
  const [list, setList] = useState(draft.args);
  const [names, setNames] = useState(draft.kwargs);
  const [isSending, setSending] = useState(false);
  const wrong = [wrongWith(list, "array"), wrongWith(names, "object")] as const;
  const isWhole = !needsAll || (list.trim() !== "" && names.trim() !== "");
  const isRight = !wrong[0] && !wrong[1] && isWhole;
  const edited = isRight ? editedOf(draft, list, names, needsAll) : {};
  const send = async () => {
    setSending(true);
    const isSent = await onSend(edited);
    setSending(false);
    if (isSent) onClose();
  };
  const foot = (
    <>
      <span class="dialog-note faint">{told(edited, needsAll, isRight)}</span>
      <Button onClick={onClose}>Cancel</Button>
      <Button kind="main" needs="operator" onClick={send} disabled={!isRight || isSending} testid="send-edited">
        {verb}
      </Button>
    </>
  );
  return (
    <Dialog title={title} onClose={onClose} foot={foot} isWide>
      {[...draft.notes, note].filter(Boolean).map((each) => (
        <p key={each} class="note">
          {each}
        </p>
      ))}
      <JsonField label="Positional arguments, a JSON array" text={list} onInput={setList} wrong={wrong[0]} was={args} />
      <JsonField label="Named arguments, a JSON object" text={names} onInput={setNames} wrong={wrong[1]} was={kwargs} />
    </Dialog>
  );
}

function told(edited: Edited, needsAll: boolean, isRight: boolean): string {
  if (needsAll) return isRight ? "Sent as a new task." : "Both are needed; write [] or {} for none.";
  return edited.args !== undefined || edited.kwargs !== undefined
    ? "Sent with what you changed."
    : "Nothing is changed yet.";
}

interface FieldProps {
  label: string;
  text: string;
  onInput: (text: string) => void;
  wrong: string;
  /** What the record says, shown where it could not be put into the field. */
  was?: string;
}

/** A field for JSON that says at once what is wrong with it. */
export function JsonField({ label, text, onInput, wrong, was }: FieldProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <textarea
        id={id}
        rows={Math.min(14, Math.max(3, text.split("\n").length))}
        spellcheck={false}
        value={text}
        placeholder={was}
        aria-invalid={wrong ? true : undefined}
        aria-describedby={wrong ? `${id}-wrong` : undefined}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
      {wrong && (
        <p class="field-error" id={`${id}-wrong`} role="status">
          {wrong}
        </p>
      )}
    </div>
  );
}
