/** Views a user has saved in this browser: a name for a filter and an order. */

export interface View {
  name: string;
  where: string;
  sort: string;
}

const KEY = "taskbus.views";
const MAX_VIEWS = 50;

/** Those that are saved; what is not a view is passed over, and a browser that keeps nothing has none. */
export function savedViews(storage: Pick<Storage, "getItem">): View[] {
  try {
    const found: unknown = JSON.parse(storage.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found.filter(isView).slice(0, MAX_VIEWS) : [];
  } catch {
    return [];
  }
}

/** Keep a view, in the place of one of the same name; returns all, by name. */
export function keepView(storage: Pick<Storage, "getItem" | "setItem">, view: View): View[] {
  const others = savedViews(storage).filter((each) => each.name !== view.name);
  return written(storage, [...others, view]);
}

/** Forget the view of a name; returns those that are left. */
export function dropView(storage: Pick<Storage, "getItem" | "setItem">, name: string): View[] {
  return written(
    storage,
    savedViews(storage).filter((each) => each.name !== name),
  );
}

function written(storage: Pick<Storage, "setItem">, views: View[]): View[] {
  const sorted = [...views].sort((a, b) => a.name.localeCompare(b.name));
  try {
    storage.setItem(KEY, JSON.stringify(sorted));
  } catch {
    // A browser that keeps nothing, or no more: the view lasts as long as the page.
  }
  return sorted;
}

function isView(value: unknown): value is View {
  const view = value as View | null;
  return typeof view?.name === "string" && typeof view.where === "string" && typeof view.sort === "string";
}
