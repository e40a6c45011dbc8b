/** One act on many, a few at a time. */

export interface Outcome {
  done: number;
  /** What went wrong, and for how many. */
  errors: Map<string, number>;
}

const AT_ONCE = 6;

/** Act on each; a failure stops none of the others. `stop` keeps what has not begun from beginning. */
export async function forEach(
  ids: readonly string[],
  act: (id: string) => Promise<unknown>,
  onProgress: (ended: number) => void = () => {},
  stop?: AbortSignal,
): Promise<Outcome> {
  const outcome: Outcome = { done: 0, errors: new Map() };
  let next = 0;
  let ended = 0;
  const work = async () => {
    while (next < ids.length && !stop?.aborted) {
      const id = ids[next] as string;
      next += 1;
      try {
        await act(id);
        outcome.done += 1;
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        outcome.errors.set(text, (outcome.errors.get(text) ?? 0) + 1);
      }
      ended += 1;
      onProgress(ended);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, ids.length) }, work));
  return outcome;
}

/** Filters that mean these ids and no others, each short enough for the server. */
export function filtersOf(ids: readonly string[], most = 1900): string[] {
  const filters: string[] = [];
  let words: string[] = [];
  let length = 0;
  for (const id of ids) {
    const word = `id:${id}`;
    if (words.length && (length + word.length + 1 > most || words.length >= 120)) {
      filters.push(words.join(" "));
      [words, length] = [[], 0];
    }
    words.push(word);
    length += word.length + 1;
  }
  return words.length ? [...filters, words.join(" ")] : filters;
}
