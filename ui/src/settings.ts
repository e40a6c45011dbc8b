/** What the reader chose, kept in this browser: the theme, and whether the page refreshes by itself. */
import { effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const THEME = "taskbus.theme";

function remembered(): Theme {
  try {
    const kept = localStorage.getItem(THEME);
    return kept === "light" || kept === "dark" ? kept : "system";
  } catch {
    return "system"; // storage may be forbidden
  }
}

const systemIsDark = typeof matchMedia === "undefined" ? null : matchMedia("(prefers-color-scheme: dark)");

export const theme = signal<Theme>(remembered());
export const isDark = signal(false);
/** Whether the reader stopped the page from refreshing. */
export const isPaused = signal(false);
/** Whether the page can be seen; what cannot be seen asks the server for nothing. */
export const isVisible = signal(typeof document === "undefined" || !document.hidden);

export function setTheme(chosen: Theme): void {
  theme.value = chosen;
  try {
    if (chosen === "system") localStorage.removeItem(THEME);
    else localStorage.setItem(THEME, chosen);
  } catch {
    // kept for this page alone
  }
}

export function toggleTheme(): void {
  setTheme(isDark.value ? "light" : "dark");
}

export function startSettings(): void {
  const apply = () => {
    isDark.value = theme.value === "dark" || (theme.value === "system" && systemIsDark?.matches === true);
    document.documentElement.dataset.theme = isDark.value ? "dark" : "light";
  };
  effect(apply);
  systemIsDark?.addEventListener("change", apply);
  document.addEventListener("visibilitychange", () => {
    isVisible.value = !document.hidden;
  });
}
