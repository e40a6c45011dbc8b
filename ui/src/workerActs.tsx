/** Orders to workers, each with its question and what it says afterwards. */
import { api } from "./api";
import { confirm } from "./components/Dialog";
import { act } from "./toasts";

export function grow(name: string): Promise<boolean> {
  return act(() => api.growNode(name, 1), `The pool of ${name} grows by one slot.`);
}

export function shrink(name: string): Promise<boolean> {
  return act(() => api.shrinkNode(name, 1), `The pool of ${name} shrinks by one slot.`);
}

export async function stop(name: string): Promise<boolean> {
  const isMeant = await confirm({
    title: "Stop this worker?",
    text: (
      <>
        <code>{name}</code> takes no more tasks, finishes what it runs and exits. Whatever started it (systemd,
        Kubernetes) may start it again.
      </>
    ),
    verb: "Stop worker",
    isDanger: true,
  });
  return isMeant && act(() => api.stopNode(name), `${name} finishes its tasks and stops.`);
}

export async function cancelQueue(name: string, queue: string): Promise<boolean> {
  const isMeant = await confirm({
    title: "Stop taking from this queue?",
    text: (
      <>
        <code>{name}</code> takes no more tasks from <code>{queue}</code> until it is added again or the worker
        restarts.
      </>
    ),
    verb: "Stop taking",
  });
  return isMeant && act(() => api.cancelQueue(name, queue), `${name} takes no more from ${queue}.`);
}
