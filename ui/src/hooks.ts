/** What pages are made with: asking the server, following the stream, keeping the view in the URL. */
import { effect } from "@preact/signals";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { ApiError, type List } from "./api";
import { snapshot, type View, watch } from "./live";
import { isPaused, isVisible } from "./settings";
import { complain } from "./toasts";

export interface Asked<T> {
  value: T | null;
  /** Why there is no value. An error while an older value is shown comes as a toast instead, unless it is gone (404). */
  error: ApiError | Error | null;
  isLoading: boolean;
  reload: () => void;
}

/**
 * What `ask` answers, asked again when one of `deps` changes and every `every` seconds while the page can be seen and
 * is not paused. The old value stays until the new one is there; a late answer never replaces a newer one.
 */
export function useAsked<T>(ask: (signal: AbortSignal) => Promise<T>, deps: unknown[], every = 0): Asked<T> {
  const [state, setState] = useState<Omit<Asked<T>, "reload">>({ value: null, error: null, isLoading: true });
  const [turn, setTurn] = useState(0);
  const reload = useCallback(() => setTurn((before) => before + 1), []);
  const asker = useRef(ask);
  asker.current = ask;
  const key = JSON.stringify(deps);
  const keyShown = useRef(key);

  useEffect(() => {
    const stopping = new AbortController();
    const isNew = keyShown.current !== key;
    keyShown.current = key;
    setState((before) => ({ ...before, isLoading: true, value: isNew ? null : before.value }));
    asker.current(stopping.signal).then(
      (value) => !stopping.signal.aborted && setState({ value, error: null, isLoading: false }),
      (error: Error) => {
        if (stopping.signal.aborted) return;
        setState((before) => {
          const value = error instanceof ApiError && error.status === 404 ? null : before.value;
          if (value !== null) complain(error);
          return { value, error: value === null ? error : null, isLoading: false };
        });
      },
    );
    return () => stopping.abort();
  }, [key, turn]);

  useEffect(() => {
    if (!every) return;
    return effect(() => {
      if (isPaused.value || !isVisible.value) return;
      const timer = setInterval(reload, every * 1000);
      return () => clearInterval(timer);
    });
  }, [every, reload]);
  return { ...state, reload };
}

export interface Pages<T> extends Omit<Asked<List<T>>, "value"> {
  items: T[] | null;
  list: List<T> | null;
  /** Fetches the page after the last one; null when there is none. */
  more: (() => void) | null;
  isLoadingMore: boolean;
}

/** A list page by page: the first as `useAsked` does, the others appended by `more()`. */
export function usePages<T>(
  ask: (after: string | null, signal?: AbortSignal) => Promise<List<T>>,
  deps: unknown[],
  every = 0,
): Pages<T> {
  const [rest, setRest] = useState<{ items: T[]; next: string | null } | null>(null);
  const [isLoadingMore, setLoading] = useState(false);
  const key = JSON.stringify(deps);
  // pages that were appended would be out of step with a fresh first page, so they stop the refreshing
  const first = useAsked((signal) => ask(null, signal), deps, rest ? 0 : every);
  useEffect(() => setRest(null), [key]);

  const next = rest ? rest.next : (first.value?.next ?? null);
  const more = async () => {
    setLoading(true);
    try {
      const page = await ask(next);
      setRest((before) => ({ items: [...(before?.items ?? []), ...page.items], next: page.next }));
    } catch (error) {
      complain(error);
    } finally {
      setLoading(false);
    }
  };
  const items = useMemo(() => first.value && [...first.value.items, ...(rest?.items ?? [])], [first.value, rest]);
  const reload = () => {
    setRest(null);
    first.reload();
  };
  return {
    items,
    list: first.value,
    error: first.error,
    isLoading: first.isLoading,
    reload,
    more: next ? more : null,
    isLoadingMore,
  };
}

/** Follows the live stream of `view` while the component is shown; read the signal `snapshot` for its values. */
export function useLive(view: View): typeof snapshot {
  useEffect(() => watch(view), [view]);
  return snapshot;
}

/** One word of the URL's query and how to change it. The default is not written into the URL. */
export function useQuery<T extends string>(name: string, byDefault: T): [T, (value: T) => void] {
  const { query, route } = useLocation();
  const set = useCallback(
    (value: T) => {
      const words = new URLSearchParams(location.search);
      if (value === byDefault || value === "") words.delete(name);
      else words.set(name, value);
      const text = words.toString();
      route(location.pathname + (text ? `?${text}` : ""), true);
    },
    [name, byDefault, route],
  );
  return [(query[name] as T | undefined) ?? byDefault, set];
}

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · TaskBus`;
  }, [title]);
}
