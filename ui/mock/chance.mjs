// Chance that comes out the same each time, so that screenshots do.
export function chanceOf(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  return {
    next,
    one: (items) => items[Math.floor(next() * items.length)],
    between: (from, to) => from + next() * (to - from),
    // A long tail: mostly near `middle`, now and then ten times that.
    about: (middle) => middle * Math.exp((next() + next() + next() - 1.5) * 1.6),
    id: () => {
      const digits = Array.from({ length: 32 }, () => Math.floor(next() * 16).toString(16)).join("");
      return `019a${digits.slice(4, 8)}-${digits.slice(8, 12)}-7${digits.slice(13, 16)}-9${digits.slice(17, 20)}-${digits.slice(20)}`;
    },
  };
}
