/** A form that sends one task. */
import { useId, useState } from "preact/hooks";
import { api } from "../../api";
import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { act } from "../../toasts";
import { JsonField } from "../task/ArgumentsDialog";
import { wrongWith } from "../task/arguments";

interface Props {
  task: string;
  queues: readonly string[];
  onClose: () => void;
  onSent: (id: string) => void;
}

export function SendDialog({ task, queues, onClose, onSent }: Props) {
  const [args, setArgs] = useState("[]");
  const [kwargs, setKwargs] = useState("{}");
  const [queue, setQueue] = useState("");
  const [countdown, setCountdown] = useState("");
  const [priority, setPriority] = useState("");
  const id = useId();
  const wrong = [wrongWith(args, "array"), wrongWith(kwargs, "object")] as const;
  const send = async () => {
    let sent = "";
    const isSent = await act(
      () =>
        api.sendTask({
          task,
          args: JSON.parse(args || "[]") as unknown[],
          kwargs: JSON.parse(kwargs || "{}") as Record<string, unknown>,
          ...(queue.trim() ? { queue: queue.trim() } : {}),
          ...(countdown ? { countdown: Number(countdown) } : {}),
          ...(priority ? { priority: Number(priority) } : {}),
        }),
      (answer) => {
        sent = answer.id;
        return "Sent.";
      },
    );
    if (isSent) onSent(sent);
  };
  const foot = (
    <>
      <Button onClick={onClose}>Cancel</Button>
      <Button kind="main" needs="operator" onClick={send} disabled={!!wrong[0] || !!wrong[1]} testid="send-now">
        Send
      </Button>
    </>
  );
  return (
    <Dialog title={`Send ${task}`} onClose={onClose} foot={foot} isWide>
      <JsonField label="Positional arguments, a JSON array" text={args} onInput={setArgs} wrong={wrong[0]} />
      <JsonField label="Named arguments, a JSON object" text={kwargs} onInput={setKwargs} wrong={wrong[1]} />
      <div class="field-row">
        <div class="field">
          <label for={`${id}-queue`}>Queue, its own if empty</label>
          <input
            id={`${id}-queue`}
            value={queue}
            placeholder={queues[0]}
            onInput={(event) => setQueue(event.currentTarget.value)}
          />
        </div>
        <div class="field">
          <label for={`${id}-countdown`}>Start after, seconds</label>
          <input
            id={`${id}-countdown`}
            type="number"
            min="0"
            step="any"
            value={countdown}
            onInput={(event) => setCountdown(event.currentTarget.value)}
          />
        </div>
        <div class="field">
          <label for={`${id}-priority`}>Priority, 9 is fetched first</label>
          <input
            id={`${id}-priority`}
            type="number"
            min="0"
            max="9"
            value={priority}
            onInput={(event) => setPriority(event.currentTarget.value)}
          />
        </div>
      </div>
    </Dialog>
  );
}
