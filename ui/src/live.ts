/**
 * The live stream: one snapshot a second for the view that is shown.
 *
 * Tabs that show the same view share one connection: the tab that holds the browser's lock of the view reads the
 * stream and passes it on (browsers allow six connections to a server). Locks need https or localhost; elsewhere
 * each tab reads for itself. A tab that is hidden or paused lets go of the stream and of the lock.
 */
import { effect, signal } from "@preact/signals";
import { address, type Snapshot } from "./api";
import { isPaused, isVisible } from "./settings";

export type View = "overview" | "queues" | "nodes" | "tasks";
export type Health = "off" | "connecting" | "live" | "lost";

/** The last snapshot of the view that is watched; null before the first. */
export const snapshot = signal<Snapshot | null>(null);
export const health = signal<Health>("off");
/** How far the server's clock is ahead of ours, seconds. */
export const skew = signal(0);
/** Our clock by the server's time; ticks once a second while the page can be seen. */
export const now = signal(Date.now() / 1000);

/** A snapshot older than this is not live any more, milliseconds. */
const STALE_AFTER = 5000;
const FIRST_DELAY = 1000;
const LONGEST_DELAY = 15_000;

const watched = signal<View | null>(null);
let heardAt = 0;

function take(fresh: Snapshot): void {
  heardAt = Date.now();
  skew.value = fresh.now - heardAt / 1000;
  snapshot.value = fresh;
  health.value = "live";
}

/** Reads the stream until `signal` says stop; opens it again after a failure, each time a little later. */
function read(view: View, stop: AbortSignal, pass: (fresh: Snapshot) => void): void {
  let delay = FIRST_DELAY;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let source: EventSource | undefined;
  const open = () => {
    source = new EventSource(address("live", { view }));
    source.addEventListener("snapshot", (event) => {
      delay = FIRST_DELAY;
      pass(JSON.parse((event as MessageEvent<string>).data) as Snapshot);
    });
    source.addEventListener("error", () => {
      if (stop.aborted) return;
      health.value = "lost";
      source?.close();
      timer = setTimeout(open, delay * (0.75 + Math.random() / 2));
      delay = Math.min(delay * 2, LONGEST_DELAY);
    });
  };
  open();
  stop.addEventListener("abort", () => {
    clearTimeout(timer);
    source?.close();
  });
}

function follow(view: View): () => void {
  const stopping = new AbortController();
  health.value = "connecting";
  if (!navigator.locks || typeof BroadcastChannel === "undefined") {
    read(view, stopping.signal, take);
    return () => stopping.abort();
  }
  const channel = new BroadcastChannel(`taskbus:${address("live", { view })}`);
  channel.onmessage = (event: MessageEvent<Snapshot>) => take(event.data);
  navigator.locks
    .request(channel.name, { signal: stopping.signal }, () => {
      read(view, stopping.signal, (fresh) => {
        take(fresh);
        channel.postMessage(fresh);
      });
      return new Promise<void>((release) => stopping.signal.addEventListener("abort", () => release()));
    })
    .catch((error: unknown) => {
      if (!stopping.signal.aborted) throw error;
    });
  return () => {
    stopping.abort();
    channel.close();
  };
}

/** Watches `view` until the function that it returns is called; the page that is shown calls it. */
export function watch(view: View): () => void {
  if (watched.peek() !== view) snapshot.value = null;
  watched.value = view;
  return () => {
    if (watched.peek() === view) watched.value = null;
  };
}

export function startLive(): void {
  effect(() => {
    const view = watched.value;
    if (!view || isPaused.value || !isVisible.value) {
      health.value = "off";
      return;
    }
    return follow(view);
  });
  setInterval(() => {
    if (!isVisible.value) return;
    now.value = Date.now() / 1000 + skew.value;
    if (health.value === "live" && Date.now() - heardAt > STALE_AFTER) health.value = "lost";
  }, 1000);
}
