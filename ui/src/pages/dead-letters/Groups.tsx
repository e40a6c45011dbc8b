/** Dead letters by what they have in common: a click on a group makes it the filter. */
import { useState } from "preact/hooks";
import type { LetterGroup } from "../../api";
import { Badge } from "../../components/Badge";
import { Panel } from "../../components/Page";
import { Time } from "../../components/Time";
import { grouped, plural } from "../../format";
import { exactly, withTerm } from "../tasks/filter";
import { reasonWord } from "./words";

const FEW = 6;

/** The filter that means a group, with what the filter in force says besides. */
export function filterOf(where: string, group: Pick<LetterGroup, "task" | "reason" | "error">): string {
  const task = withTerm(where, "task", exactly(group.task));
  return withTerm(withTerm(task, "reason", group.reason), "error", exactly(group.error));
}

export function Groups({
  groups,
  where,
  onChoose,
}: {
  groups: readonly LetterGroup[];
  where: string;
  onChoose: (where: string) => void;
}) {
  const [isWhole, setWhole] = useState(false);
  if (groups.length < 2) return null;
  const most = Math.max(...groups.map((group) => group.count));
  const shown = isWhole ? groups : groups.slice(0, FEW);
  return (
    <Panel title="What they have in common" beside={plural(groups.length, "group")} isFlush testid="groups">
      <ul class="groups">
        {shown.map((group) => (
          <li key={`${group.task}\n${group.reason}\n${group.error}`}>
            <button type="button" class="group" onClick={() => onChoose(filterOf(where, group))}>
              <span class="group-what">
                <span class="name cut">{group.task}</span>
                <span class="second" title={group.message}>
                  <span class="text-bad">{group.error || "no error"}</span>
                  {group.message && ` ${group.message}`}
                </span>
              </span>
              <Badge tone="warn">{reasonWord(group.reason)}</Badge>
              <span class="group-when">
                <Time at={group.last_at} />
                <span class="second">
                  first <Time at={group.first_at} />
                </span>
              </span>
              <span class="group-count">
                <strong class="number">{grouped(group.count)}</strong>
                <meter min={0} max={most} value={group.count} aria-hidden="true" />
              </span>
            </button>
          </li>
        ))}
      </ul>
      {groups.length > FEW && (
        <button type="button" class="button button-quiet running-more" onClick={() => setWhole(!isWhole)}>
          {isWhole ? "Show the largest only" : `Show ${plural(groups.length - FEW, "more group")}`}
        </button>
      )}
    </Panel>
  );
}
