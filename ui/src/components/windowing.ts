/** Which rows of a long table are drawn: those in sight and some around them. */
import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useState } from "preact/hooks";

/** Tables up to this length are drawn whole. */
const WHOLE = 150;
/** Rows drawn beyond both edges; the window moves in steps of as many. */
const AROUND = 24;

export interface Sight {
  from: number;
  to: number;
  /** Height of a row as it is drawn, pixels. */
  height: number;
}

/** The window onto `count` rows of which the first would begin `above` pixels over the top of the screen. */
export function sightOf(count: number, height: number, above: number, screen: number): Sight {
  if (count <= WHOLE) return { from: 0, to: count, height };
  const step = (row: number) => Math.floor(row / AROUND) * AROUND;
  const first = Math.min(Math.max(0, above / height), count - 1);
  const last = Math.max(0, (above + screen) / height);
  return { from: Math.max(0, step(first) - AROUND), to: Math.min(count, step(last) + 2 * AROUND), height };
}

/** The window onto the rows of `body`, as the page is scrolled. All of them if `height`, a first guess, is 0. */
export function useSight(count: number, height: number, body: RefObject<HTMLTableSectionElement | null>): Sight {
  const [sight, setSight] = useState<Sight>(() => sightOf(height ? count : 0, height, 0, 1200));
  const isWhole = !height || count <= WHOLE;
  const look = () => {
    const rows = body.current;
    if (!rows || isWhole) return;
    const drawn = rows.querySelector<HTMLTableRowElement>("tr[data-row]")?.offsetHeight || height;
    const next = sightOf(count, drawn, -rows.getBoundingClientRect().top, innerHeight);
    const isSame = next.from === sight.from && next.to === sight.to && next.height === sight.height;
    if (!isSame) setSight(next);
  };
  useLayoutEffect(look);
  useEffect(() => {
    if (isWhole) return;
    for (const kind of ["scroll", "resize"]) addEventListener(kind, look, { passive: true });
    return () => {
      for (const kind of ["scroll", "resize"]) removeEventListener(kind, look);
    };
  });
  return isWhole ? { from: 0, to: count, height } : { ...sight, to: Math.min(sight.to, count) };
}
