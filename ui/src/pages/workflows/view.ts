/** The window onto a drawing: which part of it is seen, and how large. */

export interface Size {
  width: number;
  height: number;
}

/** `scale` pixels of the screen a unit of the drawing; `x`, `y`: the corner of the drawing at the left and top. */
export interface Look {
  x: number;
  y: number;
  scale: number;
}

export const MOST = 2;
const LEAST = 0.02;
/** Below this, words cannot be read. */
export const READABLE = 0.45;

/** All of a drawing, in the middle of the frame; never larger than life. */
export function fitted(drawing: Size, frame: Size): Look {
  if (!drawing.width || !drawing.height || !frame.width || !frame.height) return { x: 0, y: 0, scale: 1 };
  const scale = bounded(Math.min(frame.width / drawing.width, frame.height / drawing.height, 1));
  return centred({ x: drawing.width / 2, y: drawing.height / 2 }, scale, frame);
}

/** A point of the drawing in the middle of the frame. */
export function centred(point: { x: number; y: number }, scale: number, frame: Size): Look {
  return { x: point.x - frame.width / scale / 2, y: point.y - frame.height / scale / 2, scale };
}

/** Larger or smaller by a factor, while what is under `at` (pixels from the frame's corner) stays there. */
export function zoomed(look: Look, factor: number, at: { x: number; y: number }): Look {
  const scale = bounded(look.scale * factor);
  return { x: look.x + at.x / look.scale - at.x / scale, y: look.y + at.y / look.scale - at.y / scale, scale };
}

/** Moved by so many pixels of the screen, as a hand that holds the drawing moves it. */
export function moved(look: Look, dx: number, dy: number): Look {
  return { ...look, x: look.x - dx / look.scale, y: look.y - dy / look.scale };
}

/** The same look, moved as little as is needed so that a box is seen whole. */
export function showing(look: Look, box: { x: number; y: number } & Size, frame: Size, margin = 24): Look {
  const along = (start: number, length: number, from: number, size: number) => {
    const [seen, edge] = [size / look.scale, margin / look.scale];
    if (from - length / 2 < start + edge) return from - length / 2 - edge;
    return from + length / 2 > start + seen - edge ? from + length / 2 - seen + edge : start;
  };
  return {
    scale: look.scale,
    x: along(look.x, box.width, box.x, frame.width),
    y: along(look.y, box.height, box.y, frame.height),
  };
}

function bounded(scale: number): number {
  return Math.min(MOST, Math.max(LEAST, scale));
}
