import { useMemo } from "preact/hooks";
import { api } from "../../api";
import { useAsked } from "../../hooks";
import type { Known } from "./filter";

const NONE: Known = { tasks: [], queues: [], workers: [], errors: [] };

/** Names to suggest and to choose from; empty until, or unless, the server says them. */
export function useKnown(): Known {
  const asked = useAsked(
    (signal) => Promise.all([api.types("24h", signal), api.queues(signal), api.nodes(signal)]),
    [],
  );
  return useMemo(() => {
    if (!asked.value) return NONE;
    const [types, queues, nodes] = asked.value;
    const errors = types.items.flatMap((type) => type.errors.map((each) => each.error));
    return {
      tasks: types.items.map((type) => type.task).sort(),
      queues: queues.items.map((queue) => queue.name).sort(),
      workers: [...new Set(nodes.items.filter((node) => node.kind === "worker").map((node) => node.name))].sort(),
      errors: [...new Set(errors)].filter(Boolean).sort(),
    };
  }, [asked.value]);
}
