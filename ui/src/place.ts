/** Where the page is mounted, and the addresses of its parts. */

function mounted(): string {
  if (typeof document === "undefined") return "/";
  const said = document.querySelector<HTMLMetaElement>('meta[name="taskbus-base"]')?.content ?? "/";
  return said.startsWith("/") && said.endsWith("/") ? said : "/";
}

/** The path of the page's root; starts and ends with "/". */
export const base = mounted();

type Params = Record<string, string | undefined>;

/** The address of `path` ("queues", "tasks"...) below the page's root, names put in with `at`. */
export function to(path: string, params: Params = {}): string {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) if (value) query.set(key, value);
  const text = query.toString();
  return base + path + (text ? `?${text}` : "");
}

const part = encodeURIComponent;

/** Addresses of what has a name. Every link of the page comes from here. */
export const at = {
  queue: (name: string) => to(`queues/${part(name)}`),
  task: (id: string) => to(`tasks/${part(id)}`),
  tasks: (where: string) => to("tasks", { where }),
  type: (task: string) => to(`types/${part(task)}`),
  worker: (name: string) => to(`workers/${part(name)}`),
  flow: (id: string) => to(`workflows/${part(id)}`),
  letters: (where: string) => to("dead-letters", { where }),
  letter: (id: string) => to(`dead-letters/${part(id)}`),
};

/** One term of a filter, quoted as a shell would where its value needs it: `term("task", "shop.pay")`. */
export function term(key: string, value: string): string {
  return `${key}:${/^[\w@%+=:,./*-]+$/.test(value) ? value : `'${value.replaceAll("'", `'"'"'`)}'`}`;
}

/** The path below the page's root that a problem's link names; foreign addresses lead nowhere but home. */
export function inside(link: string): string {
  return base + (/^[a-z][a-z0-9+.-]*:|^\/\//i.test(link) ? "" : link.replace(/^\/+/, ""));
}
