import { PAGES } from "../sitemap";
import { Dialog } from "./Dialog";

const KEYS: [string, string][] = [
  ["Ctrl K", "go to a page, queue, worker, task type or task"],
  ["/", "search on this page"],
  ["j  k", "next and previous row"],
  ["Enter", "open the row"],
  ["x", "choose the row"],
  ["r", "stop or go on refreshing"],
  ["?", "this help"],
];

export function Help({ onClose }: { onClose: () => void }) {
  const pages = PAGES.filter((page) => page.key).map((page): [string, string] => [`g ${page.key}`, page.title]);
  return (
    <Dialog title="Keyboard" onClose={onClose}>
      <div class="help">
        {[KEYS, pages].map((keys) => (
          <dl key={keys[0]?.[0]}>
            {keys.map(([key, what]) => (
              <div key={key}>
                <dt>
                  {key
                    .split(" ")
                    .filter(Boolean)
                    .map((each) => (
                      <kbd key={each}>{each}</kbd>
                    ))}
                </dt>
                <dd>{what}</dd>
              </div>
            ))}
          </dl>
        ))}
      </div>
    </Dialog>
  );
}
