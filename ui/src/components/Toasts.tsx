import { dismiss, toasts } from "../toasts";
import { Button } from "./Button";
import { Icon } from "./Icon";

/** What happened, read aloud by screen readers as it comes. */
export function Toasts() {
  return (
    <section class="toasts" aria-label="Notifications" aria-live="polite">
      {toasts.value.map((toast) => (
        <div key={toast.id} class={`toast toast-${toast.kind}`} role={toast.kind === "error" ? "alert" : "status"}>
          <Icon name={toast.kind === "error" ? "warning" : "check"} />
          <div class="toast-text">
            <p>{toast.text}</p>
            {toast.advice && <p class="toast-advice">{toast.advice}</p>}
            {toast.link && <a href={toast.link.href}>{toast.link.text}</a>}
          </div>
          <Button kind="quiet" icon="close" label="Dismiss" onClick={() => dismiss(toast.id)} />
        </div>
      ))}
    </section>
  );
}
