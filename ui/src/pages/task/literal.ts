/**
 * Python values as they are written in records, read so that they can be edited as JSON: `(481516,)` is `[481516]`.
 * What JSON has no word for (a Decimal, a date, something that was cut) cannot be read.
 */

type Value = string | number | boolean | null | Value[] | { [key: string]: Value };

const WORDS: Record<string, Value> = { None: null, True: true, False: false, null: null, true: true, false: false };
const ESCAPES: Record<string, string> = { n: "\n", t: "\t", r: "\r", b: "\b", f: "\f", v: "\v", a: "\x07", "0": "\0" };
const CLOSE: Record<string, string> = { "(": ")", "[": "]", "{": "}" };
const DEEPEST = 50;

class Unreadable extends Error {}

/** The value that a text writes, or undefined if it cannot be read. */
export function readLiteral(text: string): Value | undefined {
  const reader = new Reader(text);
  try {
    const value = reader.value(0);
    return reader.isAtEnd() ? value : undefined;
  } catch (error) {
    if (error instanceof Unreadable) return undefined;
    throw error;
  }
}

/** Whether a text was cut, or has secrets taken out: what is read from it is not what the task was given. */
export function isPartial(text: string): boolean {
  return /\*{3}|…|\.{3}/.test(text);
}

class Reader {
  private at = 0;
  constructor(private readonly text: string) {}

  isAtEnd(): boolean {
    this.blanks();
    return this.at >= this.text.length;
  }

  value(depth: number): Value {
    this.blanks();
    const letter = this.text[this.at];
    if (letter === undefined || depth > DEEPEST) throw new Unreadable();
    if (letter in CLOSE) return letter === "{" ? this.mapping(depth) : this.sequence(CLOSE[letter] as string, depth);
    if (letter === '"' || letter === "'") return this.string(letter);
    const word = /^(?:[A-Za-z_]\w*|-?\d[\d_]*(?:\.\d*)?(?:[eE][-+]?\d+)?)/.exec(this.text.slice(this.at))?.[0];
    if (word === undefined) throw new Unreadable();
    this.at += word.length;
    if (word in WORDS) return WORDS[word] as Value;
    const number = Number(word.replaceAll("_", ""));
    // A whole number that JavaScript cannot keep would reach the task as another one.
    if (!/^-?\d/.test(word) || (/^-?[\d_]+$/.test(word) && !Number.isSafeInteger(number))) throw new Unreadable();
    return number;
  }

  private sequence(close: string, depth: number): Value {
    this.at += 1;
    const items: Value[] = [];
    let hasComma = false;
    while (!this.took(close)) {
      if (items.length && !hasComma) throw new Unreadable();
      items.push(this.value(depth + 1));
      hasComma = this.took(",");
    }
    return close === ")" && items.length === 1 && !hasComma ? (items[0] as Value) : items;
  }

  private mapping(depth: number): Value {
    this.at += 1;
    const found: [string, Value][] = [];
    let hasComma = true;
    while (!this.took("}")) {
      if (!hasComma) throw new Unreadable();
      const key = this.value(depth + 1);
      if (typeof key !== "string" || !this.took(":")) throw new Unreadable();
      found.push([key, this.value(depth + 1)]);
      hasComma = this.took(",");
    }
    return Object.fromEntries(found);
  }

  private string(quote: string): string {
    let read = "";
    for (this.at += 1; this.at < this.text.length; this.at += 1) {
      const letter = this.text[this.at] as string;
      if (letter === quote) {
        this.at += 1;
        return read;
      }
      read += letter === "\\" ? this.escape() : letter;
    }
    throw new Unreadable();
  }

  private escape(): string {
    this.at += 1;
    const letter = this.text[this.at] ?? "";
    const width = { x: 2, u: 4, U: 8 }[letter];
    if (width === undefined) return ESCAPES[letter] ?? letter;
    const digits = this.text.slice(this.at + 1, this.at + 1 + width);
    const code = Number.parseInt(digits, 16);
    if (digits.length < width || Number.isNaN(code) || code > 0x10ffff) throw new Unreadable();
    this.at += width;
    return String.fromCodePoint(code);
  }

  private took(mark: string): boolean {
    this.blanks();
    if (this.text[this.at] !== mark) {
      if (this.at >= this.text.length) throw new Unreadable();
      return false;
    }
    this.at += 1;
    return true;
  }

  private blanks(): void {
    while (/\s/.test(this.text[this.at] ?? "")) this.at += 1;
  }
}
