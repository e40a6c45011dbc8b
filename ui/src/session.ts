/** Who is signed in and what they may do. The server decides; the page only leaves out what it would refuse. */
import { signal } from "@preact/signals";
import { api, type Me, type Role } from "./api";
import { complain } from "./toasts";

export const me = signal<Me | null>(null);

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

/** Why the reader may not do what needs `role`, or nothing if they may. Reads a signal: use it while rendering. */
export function refusal(role: Role): string {
  const known = me.value;
  if (!known) return "Not signed in yet.";
  if (known.read_only) return "This page is read-only.";
  return RANK[known.role] >= RANK[role] ? "" : `Needs the role ${role}; yours is ${known.role}.`;
}

export function may(role: Role): boolean {
  return refusal(role) === "";
}

export async function startSession(): Promise<void> {
  try {
    me.value = await api.me();
  } catch (error) {
    complain(error);
  }
}
