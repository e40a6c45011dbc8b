/** Changes to queues, each with its question and what it says afterwards. */
import { api } from "./api";
import { confirm } from "./components/Dialog";
import { grouped } from "./format";
import { act } from "./toasts";

export async function pause(name: string): Promise<boolean> {
  const isMeant = await confirm({
    title: "Pause this queue?",
    text: (
      <>
        Workers take no more tasks from <code>{name}</code> until it is resumed. What runs now runs on; tasks can still
        be sent and wait.
      </>
    ),
    verb: "Pause",
  });
  return isMeant && act(() => api.pauseQueue(name), `${name} is paused. Workers notice within a few seconds.`);
}

export function resume(name: string): Promise<boolean> {
  return act(() => api.resumeQueue(name), `${name} goes on.`);
}

export async function purge(name: string): Promise<boolean> {
  const isMeant = await confirm({
    title: "Purge this queue?",
    text: (
      <>
        Every message that waits in <code>{name}</code>, delayed ones too, is deleted for good and will not run. What
        runs now is left alone.
      </>
    ),
    verb: "Delete",
    isDanger: true,
    count: async () => (await api.purgeQueue(name, true)).count,
    counted: ["message", "messages"],
    typed: name,
  });
  return (
    isMeant &&
    act(
      () => api.purgeQueue(name, false),
      (said) => `${grouped(said.count)} messages of ${name} deleted.`,
    )
  );
}
