/** Instants as clocks show them in a zone. */

/** "Sat 28 Nov, 02:30", with seconds where it has some; by UTC where the browser does not know the zone. */
export function inZone(at: number, zone: string): string {
  const parts = partsOf(at, zone);
  const seconds = parts.second === "00" ? "" : `:${parts.second}`;
  return `${parts.weekday} ${parts.day} ${parts.month}, ${parts.hour}:${parts.minute}${seconds}`;
}

/** How a zone is called at an instant: "CET", "GMT+9". */
export function zoneName(at: number, zone: string): string {
  return formatter(zone, { timeZoneName: "short" })
    .formatToParts(at * 1000)
    .reduce((name, part) => (part.type === "timeZoneName" ? part.value : name), "UTC");
}

/** The reader's own zone. */
export function localZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

/** Whether clocks in two zones show the same at an instant. */
export function isSameTime(at: number, zone: string, other: string): boolean {
  return inZone(at, zone) === inZone(at, other);
}

function partsOf(at: number, zone: string): Record<string, string> {
  const format = formatter(zone, {
    weekday: "short",
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  });
  return Object.fromEntries(format.formatToParts(at * 1000).map((part) => [part.type, part.value]));
}

function formatter(zone: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone || "UTC" });
  } catch {
    return new Intl.DateTimeFormat("en-GB", { ...options, timeZone: "UTC" });
  }
}
