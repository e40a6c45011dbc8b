/** The graph of a workflow: drawn whole at first, moved and enlarged with mouse, fingers or keys. */
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { stateWord } from "../../components/Badge";
import { Button } from "../../components/Button";
import { grouped } from "../../format";
import { type Drawn, type Graph, named } from "./graph";
import { inSight, neighbour, type Picture, type Placed, pictured } from "./layout";
import { Mark } from "./marks";
import { centred, fitted, type Look, moved, READABLE, type Size, showing, zoomed } from "./view";

interface Props {
  graph: Graph;
  /** Id of the node that is told of beside the graph. */
  chosen: string;
  onChoose: (id: string) => void;
}

const STEP = 1.3;
const LONGEST = 28;

export function FlowGraph({ graph, chosen, onChoose }: Props) {
  // Where things stand depends on what there is; how it stands is drawn without a new layout.
  const shape = `${graph.nodes.map((node) => node.id).join()}|${graph.edges.join(";")}`;
  const layout = useMemo(() => pictured(graph), [shape]);
  const picture = useMemo(() => refreshed(layout, graph), [layout, graph]);
  const frame = useRef<HTMLDivElement>(null);
  const [size, setSize] = useState<Size>({ width: 0, height: 0 });
  const [look, setLook] = useState<Look>({ x: 0, y: 0, scale: 1 });
  const fit = () => setLook(fitted(picture, size));

  useLayoutEffect(() => {
    const element = frame.current;
    if (!element) return;
    const sizes = new ResizeObserver(() => setSize({ width: element.clientWidth, height: element.clientHeight }));
    sizes.observe(element);
    return () => sizes.disconnect();
  }, []);
  useLayoutEffect(() => {
    if (size.width) setLook(opened(picture, size));
  }, [layout, size.width, size.height]);
  useDragging(frame, setLook);

  const middle = { x: size.width / 2, y: size.height / 2 };
  const zoom = (factor: number) => setLook((before) => zoomed(before, factor, middle));
  const choose = (id: string) => {
    onChoose(id);
    const place = picture.nodes.find((each) => each.node.id === id);
    if (place) setLook((before) => showing(before, place, size));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = { "+": () => zoom(STEP), "=": () => zoom(STEP), "-": () => zoom(1 / STEP), "0": fit }[event.key];
    const next = neighbour(picture.nodes, chosen || (picture.nodes[0]?.node.id ?? ""), event.key);
    if (act) act();
    else if (next) choose(next);
    if (!act && !event.key.startsWith("Arrow")) return;
    event.preventDefault();
    event.stopPropagation();
  };
  const to = { x: look.x + size.width / look.scale, y: look.y + size.height / look.scale };
  const seen = picture.nodes.length > 200 ? inSight(picture.nodes, look, to, 200) : picture.nodes;
  const names = new Set(seen.map((each) => each.node.id));
  const edges =
    picture.nodes.length > 200
      ? picture.edges.filter((edge) => names.has(edge.from) || names.has(edge.to))
      : picture.edges;
  const label = `Graph of the workflow: ${grouped(graph.nodes.length)} nodes. Arrow keys go from node to node, plus and minus zoom, 0 shows all.`;
  return (
    <div class="graph" data-testid="graph">
      <div
        ref={frame}
        class="graph-frame"
        role="listbox"
        tabIndex={0}
        aria-label={label}
        aria-activedescendant={chosen && names.has(chosen) ? `node-${chosen}` : undefined}
        style={{ height: `${tall(picture, size.width)}px` }}
        onKeyDown={onKeyDown}
      >
        <svg
          width={size.width}
          height={size.height}
          viewBox={`${look.x} ${look.y} ${size.width / look.scale || 1} ${size.height / look.scale || 1}`}
          role="presentation"
        >
          <defs>
            <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
              <path d="M0 0.5 L7 4 L0 7.5 Z" class="graph-arrow" />
            </marker>
          </defs>
          {edges.map((edge) => (
            <path
              key={`${edge.from}\n${edge.to}`}
              d={edge.path}
              class={edge.from === chosen || edge.to === chosen ? "graph-edge graph-edge-chosen" : "graph-edge"}
              marker-end={look.scale > 0.2 ? "url(#arrow)" : undefined}
            />
          ))}
          {seen.map((place) => (
            <Node
              key={place.node.id}
              place={place}
              isChosen={place.node.id === chosen}
              isBrief={look.scale < READABLE / 2}
              onChoose={() => choose(place.node.id)}
            />
          ))}
        </svg>
      </div>
      <div class="graph-tools" role="toolbar" aria-label="Zoom">
        <Button icon="plus" label="Larger (+)" onClick={() => zoom(STEP)} />
        <Button icon="minus" label="Smaller (−)" onClick={() => zoom(1 / STEP)} />
        <Button onClick={fit} testid="fit">
          Fit
        </Button>
      </div>
    </div>
  );
}

/** Height of the frame, pixels: what the drawing needs, as far as the screen has it. */
function tall(picture: Picture, width: number): number {
  const most = Math.max(300, innerHeight * 0.64);
  const scale = Math.min(1, (width || 1) / (picture.width || 1));
  if (scale < READABLE) return most;
  return Math.min(most, Math.max(220, picture.height * scale + 110));
}

/** The first look: all of it where that can be read, else where something failed or runs, else the beginning. */
function opened(picture: Picture, frame: Size): Look {
  const whole = fitted(picture, frame);
  if (whole.scale >= READABLE) return whole;
  const scale = READABLE * 1.4;
  const told = ["FAILURE", "STARTED"].map((state) =>
    picture.nodes.find((each) => each.node.state === state && each.node.kind !== "join"),
  );
  const telling = told[0] ?? told[1];
  if (telling) return centred(telling, scale, frame);
  const first = picture.nodes.reduce<Placed | null>((left, each) => (left && left.x <= each.x ? left : each), null);
  return first ? { ...centred({ x: 0, y: first.y }, scale, frame), x: -16 / scale } : whole;
}

/** The same places with the nodes as they are now. */
function refreshed(picture: Picture, graph: Graph): Picture {
  const byId = new Map(graph.nodes.map((node) => [node.id, node]));
  return { ...picture, nodes: picture.nodes.map((each) => ({ ...each, node: byId.get(each.node.id) ?? each.node })) };
}

interface NodeProps {
  place: Placed;
  isChosen: boolean;
  /** So small that words cannot be read: a box in the colour of its state does. */
  isBrief: boolean;
  onChoose: () => void;
}

function Node({ place, isChosen, isBrief, onChoose }: NodeProps) {
  const { node, width, height } = place;
  const tone = stateWord(node.state)[1];
  return (
    <g
      id={`node-${node.id}`}
      class={`node node-${tone} node-${node.kind}${isChosen ? " node-chosen" : ""}`}
      transform={`translate(${place.x - width / 2} ${place.y - height / 2})`}
      role="option"
      aria-selected={isChosen}
      onClick={onChoose}
    >
      <title>{described(node)}</title>
      {node.kind === "many" && <rect x="5" y="-5" width={width} height={height} rx="9" class="node-behind" />}
      <rect width={width} height={height} rx={node.kind === "join" ? height / 2 : 9} class="node-box" />
      {!isBrief && <Words node={node} width={width} height={height} />}
    </g>
  );
}

function Words({ node, width, height }: { node: Drawn; width: number; height: number }) {
  if (node.kind === "join") {
    return (
      <>
        <Mark state={node.state} x={16} y={height / 2} />
        <text x={32} y={height / 2 + 4} class="node-second">
          {node.label}
        </text>
      </>
    );
  }
  const [module, name] = named(node.label);
  const second = node.kind === "many" ? `${grouped(node.members.length)} tasks` : module || stateWord(node.state)[0];
  return (
    <>
      <Mark state={node.state} x={19} y={node.kind === "many" ? 25 : height / 2} />
      {/* A drawing in the drawing, which cuts off what is too long. */}
      <svg x="38" width={width - 46} height={height} role="presentation">
        <text y={22} class="node-name">
          {cut(name)}
        </text>
        <text y={39} class="node-second">
          {cut(second)}
        </text>
      </svg>
      {node.kind === "many" && <Shares node={node} x={12} y={52} width={width - 24} />}
    </>
  );
}

/** How many members there are in each state, as a bar. */
function Shares({ node, x, y, width }: { node: Drawn; x: number; y: number; width: number }) {
  let from = x;
  return (
    <>
      {[...node.counts].reverse().map(([state, number]) => {
        const share = (number / node.members.length) * width;
        const start = from;
        from += share;
        return (
          <rect key={state} x={start} y={y} width={share} height="7" class={`share share-${stateWord(state)[1]}`} />
        );
      })}
    </>
  );
}

function described(node: Drawn): string {
  if (node.kind !== "many") return `${node.label}: ${stateWord(node.state)[0]}${node.error ? `, ${node.error}` : ""}`;
  const counts = node.counts.map(([state, number]) => `${grouped(number)} ${stateWord(state)[0]}`);
  return `${grouped(node.members.length)} × ${node.label}: ${counts.join(", ")}`;
}

function cut(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text;
}

/** Dragging with a button or a finger, pinching with two, and zooming with the wheel. */
function useDragging(
  frame: { current: HTMLDivElement | null },
  setLook: (change: (before: Look) => Look) => void,
): void {
  useEffect(() => {
    const element = frame.current;
    if (!element) return;
    const fingers = new Map<number, { x: number; y: number }>();
    const spot = (event: { clientX: number; clientY: number }) => {
      const box = element.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    const apart = ([a, b]: { x: number; y: number }[]) => (a && b ? Math.hypot(a.x - b.x, a.y - b.y) : 0);
    const down = (event: PointerEvent) => event.button === 0 && fingers.set(event.pointerId, spot(event));
    const move = (event: PointerEvent) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const [now, distance] = [spot(event), apart([...fingers.values()])];
      // Taken only once it moves, so that a click still reaches the node below.
      if (!element.hasPointerCapture(event.pointerId)) {
        if (Math.hypot(now.x - before.x, now.y - before.y) < 4) return;
        element.setPointerCapture(event.pointerId);
      }
      fingers.set(event.pointerId, now);
      const factor = distance ? apart([...fingers.values()]) / distance : 1;
      const share = 1 / fingers.size;
      setLook((look) => zoomed(moved(look, (now.x - before.x) * share, (now.y - before.y) * share), factor, now));
    };
    const up = (event: PointerEvent) => fingers.delete(event.pointerId);
    const wheel = (event: WheelEvent) => {
      // A wheel alone scrolls the page, as everywhere; with Ctrl, or two fingers on a pad, it zooms.
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      setLook((look) => zoomed(look, Math.exp(-event.deltaY / 200), spot(event)));
    };
    element.addEventListener("pointerdown", down);
    element.addEventListener("pointermove", move);
    for (const kind of ["pointerup", "pointercancel", "pointerleave"] as const) element.addEventListener(kind, up);
    element.addEventListener("wheel", wheel, { passive: false });
    return () => {
      element.removeEventListener("pointerdown", down);
      element.removeEventListener("pointermove", move);
      for (const kind of ["pointerup", "pointercancel", "pointerleave"] as const) element.removeEventListener(kind, up);
      element.removeEventListener("wheel", wheel);
    };
  }, []);
}
