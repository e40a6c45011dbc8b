import assert from "node:assert/strict";
import { test } from "node:test";
import type { FlowNode } from "../src/api";
import { ganttOf } from "../src/pages/workflows/gantt";
import { collapsed, countsOf, type Edge, MANY, tasksOf } from "../src/pages/workflows/graph";
import { inSight, neighbour, pictured } from "../src/pages/workflows/layout";
import { centred, fitted, moved, showing, zoomed } from "../src/pages/workflows/view";

function node(id: string, given: Partial<FlowNode> = {}): FlowNode {
  return {
    id,
    task: `shop.${id}`,
    kind: "task",
    state: "SUCCESS",
    started_at: 0,
    ended_at: 1,
    error: "",
    group: "",
    ...given,
  };
}

/** a, then a group of `size`, then its join, then z. */
function chord(size: number, group = "G"): { nodes: FlowNode[]; edges: Edge[] } {
  const members = Array.from({ length: size }, (_, at) => {
    return node(`m${at}`, {
      task: "shop.m",
      group,
      state: at < 3 ? "FAILURE" : "SUCCESS",
      started_at: at,
      ended_at: at + 1,
    });
  });
  const edges = members.flatMap(({ id }): Edge[] => [
    ["a", id],
    [id, group],
  ]);
  return {
    nodes: [node("a"), ...members, node(group, { task: "", kind: "group" }), node("z")],
    edges: [...edges, [group, "z"]],
  };
}

test("a group of a thousand is one node with counts, joined to what is around it once", () => {
  const { nodes, edges } = chord(1000);
  const graph = collapsed(nodes, edges);
  assert.deepEqual(
    graph.nodes.map((each) => each.kind),
    ["task", "many", "join", "task"],
  );
  const many = graph.nodes[1];
  assert.deepEqual(
    [many?.state, many?.counts, many?.members.length],
    [
      "FAILURE",
      [
        ["FAILURE", 3],
        ["SUCCESS", 997],
      ],
      1000,
    ],
  );
  assert.deepEqual([many?.started_at, many?.ended_at], [0, 1000]);
  assert.equal(graph.edges.length, 3);
});

test("a group of as many as are drawn one by one is drawn so", () => {
  const { nodes, edges } = chord(MANY);
  assert.equal(collapsed(nodes, edges).nodes.length, MANY + 3);
});

test("members of two groups that call the same task stay two", () => {
  const [first, second] = [chord(60, "G"), chord(60, "H")];
  const other = second.nodes
    .filter((each) => each.id !== "a" && each.id !== "z")
    .map((each) => (each.id === "H" ? each : { ...each, id: `h${each.id}` }));
  const edges: Edge[] = [
    ...first.edges,
    ...other
      .filter((each) => each.id !== "H")
      .flatMap(({ id }): Edge[] => [
        ["a", id],
        [id, "H"],
      ]),
  ];
  const many = collapsed([...first.nodes, ...other], edges).nodes.filter((each) => each.kind === "many");
  assert.deepEqual(
    many.map((each) => each.members.length),
    [60, 60],
  );
});

test("a group of sixty chains is a chain of groups", () => {
  const nodes = [node("a"), node("G", { task: "", kind: "group" })];
  const edges: Edge[] = [];
  for (let at = 0; at < 60; at += 1) {
    for (const step of ["x", "y", "z"]) nodes.push(node(`${step}${at}`, { task: `shop.${step}` }));
    edges.push(["a", `x${at}`], [`x${at}`, `y${at}`], [`y${at}`, `z${at}`], [`z${at}`, "G"]);
  }
  const graph = collapsed(nodes, edges);
  assert.deepEqual(
    graph.nodes.filter((each) => each.kind === "many").map((each) => each.label),
    ["shop.x", "shop.y", "shop.z"],
  );
  assert.equal(graph.edges.length, 4);
});

test("what is not ended has no end, and what has not begun no beginning", () => {
  const members = Array.from({ length: 60 }, (_, at) =>
    node(`m${at}`, { task: "m", state: "READY", started_at: null, ended_at: null }),
  );
  const [many] = collapsed(members, []).nodes;
  assert.deepEqual([many?.started_at, many?.ended_at, many?.state], [null, null, "READY"]);
});

test("edges to nodes that the server left out are left out", () => {
  const picture = pictured(
    collapsed(
      [node("a"), node("b")],
      [
        ["a", "b"],
        ["b", "gone"],
      ],
    ),
  );
  assert.deepEqual(
    picture.edges.map((edge) => [edge.from, edge.to]),
    [["a", "b"]],
  );
});

test("joins are not counted among tasks", () => {
  const { nodes } = chord(3);
  assert.deepEqual(countsOf(tasksOf(nodes)), [
    ["FAILURE", 3],
    ["SUCCESS", 2],
  ]);
});

test("what comes later stands further right, and nothing stands on anything else", () => {
  const { nodes, edges } = chord(12);
  const { nodes: placed, width, height } = pictured(collapsed(nodes, edges));
  const at = (id: string) => placed.find((each) => each.node.id === id) as (typeof placed)[number];
  assert.ok(at("a").x < at("m0").x && at("m0").x < at("G").x && at("G").x < at("z").x);
  for (const [place, one] of placed.entries()) {
    assert.ok(one.x - one.width / 2 >= 0 && one.x + one.width / 2 <= width && one.y + one.height / 2 <= height);
    for (const other of placed.slice(place + 1)) {
      const isApart =
        Math.abs(one.x - other.x) >= (one.width + other.width) / 2 ||
        Math.abs(one.y - other.y) >= (one.height + other.height) / 2;
      assert.ok(isApart, `${one.node.id} and ${other.node.id}`);
    }
  }
});

test("two thousand nodes of which none are alike are placed within seconds, a chain of as many too", () => {
  const line = Array.from({ length: 2000 }, (_, at) => node(`n${at}`));
  const chain = line.slice(1).map((each, at): Edge => [`n${at}`, each.id]);
  const tree = line.slice(1).map((each, at): Edge => [`n${Math.floor(at / 3)}`, each.id]);
  const same = line.map((each) => ({ ...each, task: "shop.same" }));
  for (const [nodes, edges] of [
    [line, chain],
    [line, tree],
    [same, chain],
  ] as const) {
    const began = performance.now();
    const picture = pictured(collapsed(nodes, edges));
    const took = performance.now() - began;
    assert.ok(picture.nodes.length > 0 && took < 5000, `${Math.round(took)} ms`);
  }
});

test("nodes on a circle, which no workflow has, are drawn all the same", () => {
  const line = Array.from({ length: 400 }, (_, at) => node(`n${at}`));
  const edges = line.map((each, at): Edge => [each.id, `n${(at + 1) % 400}`]);
  assert.equal(pictured(collapsed(line, edges)).nodes.length, 400);
});

test("arrow keys go to the nearest node in their direction", () => {
  const { nodes: placed } = pictured(collapsed(...(Object.values(chord(3)) as [FlowNode[], Edge[]])));
  const first = neighbour(placed, "a", "ArrowRight");
  assert.ok(first?.startsWith("m"));
  assert.equal(neighbour(placed, "a", "ArrowLeft"), null);
  assert.equal(neighbour(placed, "G", "ArrowRight"), "z");
  assert.equal(neighbour(placed, "z", "Enter"), null);
  const rows = placed
    .filter((each) => each.node.id.startsWith("m"))
    .sort((a, b) => a.y - b.y)
    .map((each) => each.node.id);
  assert.equal(neighbour(placed, rows[0] as string, "ArrowDown"), rows[1]);
});

test("only what is in sight is drawn", () => {
  const { nodes: placed } = pictured(collapsed(...(Object.values(chord(20)) as [FlowNode[], Edge[]])));
  assert.equal(inSight(placed, { x: -1e4, y: -1e4 }, { x: 1e4, y: 1e4 }).length, placed.length);
  assert.deepEqual(inSight(placed, { x: 1e5, y: 0 }, { x: 1e5 + 10, y: 10 }), []);
});

test("a drawing is fitted whole, and never larger than life", () => {
  const frame = { width: 1000, height: 500 };
  assert.deepEqual(fitted({ width: 4000, height: 1000 }, frame), { x: 0, y: -500, scale: 0.25 });
  assert.equal(fitted({ width: 100, height: 100 }, frame).scale, 1);
  assert.deepEqual(fitted({ width: 0, height: 0 }, frame), { x: 0, y: 0, scale: 1 });
});

test("zooming keeps what is under the pointer where it is", () => {
  const at = { x: 300, y: 200 };
  const before = { x: 50, y: 60, scale: 0.5 };
  const after = zoomed(before, 2, at);
  assert.deepEqual([after.x + at.x / after.scale, after.y + at.y / after.scale], [before.x + 600, before.y + 400]);
  assert.ok(zoomed(before, 1e9, at).scale <= 2 && zoomed(before, 1e-9, at).scale > 0);
});

test("moving and showing", () => {
  assert.deepEqual(moved({ x: 0, y: 0, scale: 2 }, 10, -10), { x: -5, y: 5, scale: 2 });
  const frame = { width: 100, height: 100 };
  const look = centred({ x: 50, y: 50 }, 1, frame);
  assert.deepEqual(showing(look, { x: 50, y: 50, width: 10, height: 10 }, frame), look);
  assert.equal(showing(look, { x: 500, y: 50, width: 10, height: 10 }, frame).x, 429);
});

test("rows over time begin with what began first; joins and what has not started have none", () => {
  const { nodes, edges } = chord(3);
  const late = node("late", { started_at: null, ended_at: null, state: "WAITING" });
  const open = node("open", { started_at: 7, ended_at: null, state: "STARTED" });
  const gantt = ganttOf(collapsed([...nodes, late, open], edges).nodes, 20);
  const froms = gantt.rows.map((row) => row.from);
  assert.deepEqual(
    froms,
    [...froms].sort((a, b) => a - b),
  );
  assert.equal(gantt.waiting, 1);
  assert.ok(gantt.rows.every((row) => row.node.kind !== "join"));
  const row = gantt.rows.find((each) => each.node.id === "open");
  assert.deepEqual([row?.to, row?.isOpen, gantt.scale.at(20)], [20, true, 100]);
});

test("a workflow in which nothing has started has a scale", () => {
  const gantt = ganttOf(collapsed([node("a", { started_at: null, ended_at: null })], []).nodes, 5);
  assert.deepEqual([gantt.rows.length, gantt.waiting], [0, 1]);
  assert.ok(Number.isFinite(gantt.scale.at(5)));
});
