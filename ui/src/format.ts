/** Numbers, times and sizes as people read them. All of it is text; nothing here touches the page. */

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;

/** "0", "7", "1 234", "12.3 k", "4.5 M": at most five characters from 10 000 on. */
export function count(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size < 10_000) return grouped(Math.round(value));
  const [scale, unit] = size < 999_500 ? [1e3, "k"] : size < 999_500_000 ? [1e6, "M"] : [1e9, "G"];
  const scaled = value / scale;
  return `${scaled.toFixed(Math.abs(scaled) < 100 ? 1 : 0)} ${unit}`;
}

/** Every digit, in groups of three: "1 234 567"; at most two decimals. */
export function grouped(value: number): string {
  const [whole = "", decimals] = String(Math.round(value * 100) / 100).split(".");
  const groups = whole.replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
  return decimals ? `${groups}.${decimals}` : groups;
}

/** The count of a list, "10 000+" where the server stopped counting. */
export function capped(value: number, isCapped: boolean): string {
  return grouped(value) + (isCapped ? "+" : "");
}

/** A rate per second without its unit: "0", "0.04", "3.2", "410", "12.3 k". */
export function rate(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  if (value < 0.01) return "<0.01";
  if (value < 1) return value.toFixed(2);
  if (value < 100) return value.toFixed(1).replace(/\.0$/, "");
  return count(value);
}

/** "0.4 ms", "12 ms", "1.24 s", "3 min 4 s", "2 h 5 min", "4 d 2 h"; "–" for null. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 0) return `-${duration(-seconds)}`;
  if (seconds === 0) return "0 s";
  if (seconds < 0.001) return `${(seconds * 1000).toFixed(1)} ms`;
  if (seconds < 0.9995) return `${(seconds * 1000).toFixed(seconds < 0.00995 ? 1 : 0)} ms`;
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < MINUTE) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < HOUR) return two(Math.floor(whole / MINUTE), "min", whole % MINUTE, "s");
  if (whole < DAY) return two(Math.floor(whole / HOUR), "h", Math.floor((whole % HOUR) / MINUTE), "min");
  return two(Math.floor(whole / DAY), "d", Math.floor((whole % DAY) / HOUR), "h");
}

function two(large: number, unit: string, small: number, below: string): string {
  return small ? `${large} ${unit} ${small} ${below}` : `${large} ${unit}`;
}

/** How long ago or ahead an instant is: "just now", "12 s ago", "in 3 min", "2 d ago". */
export function relative(at: number, now: number): string {
  const away = now - at;
  const size = Math.abs(away);
  if (size < 1) return "just now";
  const words =
    size < MINUTE
      ? `${Math.floor(size)} s`
      : size < HOUR
        ? `${Math.floor(size / MINUTE)} min`
        : size < 2 * DAY
          ? `${Math.floor(size / HOUR)} h`
          : `${Math.floor(size / DAY)} d`;
  return away >= 0 ? `${words} ago` : `in ${words}`;
}

/** Date and time of the reader's zone, to the millisecond: "2026-11-28 19:05:10.123". */
export function instant(at: number): string {
  const date = new Date(at * 1000);
  const pad = (value: number, width = 2) => String(value).padStart(width, "0");
  const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  const milliseconds = date.getMilliseconds();
  return `${day} ${time}${milliseconds ? `.${pad(milliseconds, 3)}` : ""}`;
}

/** The time of day, with seconds: "19:05:10". */
export function clock(at: number): string {
  return instant(at).slice(11, 19);
}

/** "512 B", "3.4 kB", "120 MB", "1.2 GB" (powers of 1000). */
export function bytes(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = value;
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit && size < 10 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}

/** A share of one as "37 %". */
export function percent(share: number): string {
  if (!Number.isFinite(share)) return "–";
  if (share > 0 && share < 0.001) return "<0.1 %";
  return `${share < 0.1 && share > 0 ? (share * 100).toFixed(1).replace(/\.0$/, "") : Math.round(share * 100)} %`;
}

/** "1 task", "3 tasks". */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${grouped(value)} ${value === 1 ? one : many}`;
}

/** The end of an id, enough to tell tasks apart in a table: ids made together begin alike. */
export function short(id: string): string {
  return id.length > 13 ? `…${id.slice(-8)}` : id;
}
