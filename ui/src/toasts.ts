/** Short notes about what happened. An error stays until it is closed; the others leave by themselves. */
import { signal } from "@preact/signals";
import { ApiError } from "./api";

export interface Toast {
  id: number;
  kind: "done" | "error";
  text: string;
  advice: string;
  link?: { href: string; text: string } | undefined;
}

const STAYS_FOR = 6000;
const MOST = 4;

export const toasts = signal<Toast[]>([]);
let last = 0;

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

function show(toast: Omit<Toast, "id">): void {
  const isSame = (shown: Toast) => toast.kind === "error" && shown.kind === "error" && shown.text === toast.text;
  last += 1;
  const id = last;
  // An error that is told again takes the place of the first: whoever looks for what is new sees it.
  toasts.value = [...toasts.value.filter((shown) => !isSame(shown)), { ...toast, id }].slice(-MOST);
  if (toast.kind === "done") setTimeout(() => dismiss(id), STAYS_FOR);
}

export function tell(text: string, link?: Toast["link"]): void {
  show({ kind: "done", text, advice: "", link });
}

export function complain(error: unknown): void {
  if (error instanceof DOMException && error.name === "AbortError") return;
  const text = error instanceof Error ? error.message : String(error);
  show({ kind: "error", text, advice: error instanceof ApiError ? error.advice : "" });
}

/** Runs a change; says `done` when it is made and why not when it is not. True if it was made. */
export async function act<T>(change: () => Promise<T>, done: string | ((answer: T) => string)): Promise<boolean> {
  try {
    const answer = await change();
    const said = (answer ?? {}) as { error?: unknown };
    if (typeof said.error === "string" && said.error) throw new ApiError(200, said.error, "");
    tell(typeof done === "string" ? done : done(answer));
    return true;
  } catch (error) {
    complain(error);
    return false;
  }
}
