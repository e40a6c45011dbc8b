/** Arguments being edited: what is put into the editor, what is wrong with it, and what is sent. */

import { isPartial, readLiteral } from "./literal";

export interface Draft {
  /** JSON text; "" where the record cannot be read as JSON. */
  args: string;
  kwargs: string;
  /** What the reader should know before editing, or "". */
  notes: string[];
}

const UNCHANGED =
  "What is shown was shortened, or secrets were taken out of it. What you do not change is sent as it was.";
const MISSING =
  "Its message is gone, and what is shown was shortened, or secrets were taken out of it: put them back before you send it.";
const GONE = "Its message is gone: it is sent as a new task, with what you see here.";

export interface Edited {
  args?: unknown[];
  kwargs?: Record<string, unknown>;
}

/** The editor's first text, of arguments as a record writes them. `needsAll`: the message itself is gone. */
export function draftOf(args: string, kwargs: string, needsAll = false): Draft {
  const [list, names] = [readLiteral(args || "()"), readLiteral(kwargs || "{}")];
  const notes: string[] = [];
  if (!Array.isArray(list)) notes.push("The positional arguments are not all JSON; write them whole to change them.");
  if (!isMapping(names)) notes.push("The named arguments are not all JSON; write them whole to change them.");
  if (isPartial(args) || isPartial(kwargs)) notes.push(needsAll ? MISSING : UNCHANGED);
  else if (needsAll) notes.push(GONE);
  return {
    args: Array.isArray(list) ? JSON.stringify(list, null, 2) : "",
    kwargs: isMapping(names) ? JSON.stringify(names, null, 2) : "",
    notes,
  };
}

/** Why a text is not the JSON that is wanted, or "" if it is. */
export function wrongWith(text: string, wanted: "array" | "object"): string {
  if (!text.trim()) return "";
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return `This is not JSON: ${(error as Error).message}`;
  }
  if (wanted === "array") return Array.isArray(value) ? "" : 'Write a JSON array: [1, "two"].';
  return isMapping(value) ? "" : 'Write a JSON object: {"name": "value"}.';
}

/** What differs from the first text, or all of it; what is left out the task keeps as it is. Both texts must be right. */
export function editedOf(first: Draft, args: string, kwargs: string, needsAll = false): Edited {
  const edited: Edited = {};
  const isMeant = (text: string, before: string) => text.trim() !== "" && (needsAll || text.trim() !== before.trim());
  if (isMeant(args, first.args)) edited.args = JSON.parse(args) as unknown[];
  if (isMeant(kwargs, first.kwargs)) edited.kwargs = JSON.parse(kwargs) as Record<string, unknown>;
  return edited;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
