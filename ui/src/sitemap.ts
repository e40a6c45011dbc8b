/** The pages in the order of the navigation, with the key that follows "g". */
import type { IconName } from "./components/Icon";

export interface PageEntry {
  path: string;
  title: string;
  icon: IconName;
  key?: string;
}

export const PAGES: PageEntry[] = [
  { path: "", title: "Overview", icon: "overview", key: "o" },
  { path: "queues", title: "Queues", icon: "queues", key: "q" },
  { path: "tasks", title: "Tasks", icon: "tasks", key: "t" },
  { path: "types", title: "Task types", icon: "types", key: "n" },
  { path: "workers", title: "Workers", icon: "workers", key: "w" },
  { path: "workflows", title: "Workflows", icon: "workflows", key: "f" },
  { path: "dead-letters", title: "Dead letters", icon: "dead", key: "d" },
  { path: "schedules", title: "Schedules", icon: "schedules", key: "s" },
  { path: "system", title: "System", icon: "system", key: "y" },
];
