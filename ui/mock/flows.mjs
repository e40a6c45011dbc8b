// Workflows: a small one of every shape, a large group, two thousand nodes, and a plain list of older ones.
import { chanceOf } from "./chance.mjs";
import { HOSTILE } from "./shop.mjs";

const now = Date.now() / 1000;
const builders = new Map();

function define(id, name, build) {
  builders.set(id, { id, name, build });
}

class Builder {
  constructor(seed, began) {
    this.chance = chanceOf(seed);
    this.began = began;
    this.nodes = [];
    this.edges = [];
    this.groups = {};
  }
  node(id, task, state, from, seconds, error = "") {
    const started = ["WAITING", "READY", "SKIPPED"].includes(state) || from === null ? null : this.began + from;
    const ended = ["SUCCESS", "FAILURE", "REVOKED"].includes(state) && started !== null ? started + seconds : null;
    this.nodes.push({ id, task, kind: task ? "task" : "group", state, started_at: started, ended_at: ended, error });
    return id;
  }
  edge(from, to) {
    this.edges.push([from, to]);
  }
}

function order() {
  const b = new Builder(1, now - 260);
  b.node("reserve", "shop.stock.reserve", "SUCCESS", 0, 2.1);
  b.node("capture", "shop.payments.capture", "SUCCESS", 2.4, 6.4);
  b.edge("reserve", "capture");
  b.node("papers", "", "STARTED", null, 0);
  const parts = [
    ["invoice", "shop.papers.invoice", "SUCCESS", 9.2, 14],
    ["label", "shop.papers.parcel_label", "STARTED", 9.3, 0],
    [
      "customs",
      "shop.papers.customs_form",
      "FAILURE",
      9.4,
      31,
      "shop.papers.NoTariff: no tariff number for article TB-1001",
    ],
  ];
  for (const [id, ...rest] of parts) {
    b.node(id, ...rest);
    b.edge("capture", id);
    b.edge(id, "papers");
  }
  b.groups.papers = parts.map(([id]) => id);
  b.node("ship", "shop.parcels.hand_over", "WAITING", null, 0);
  b.edge("papers", "ship");
  b.node("mail", "shop.mail.send_receipt", "WAITING", null, 0);
  b.edge("ship", "mail");
  b.node("apologise", `shop.mail.apologise ${HOSTILE}`, "READY", null, 0);
  b.edge("papers", "apologise");
  return b;
}

function album(size, done, failed) {
  const b = new Builder(size, now - 900);
  b.node("fetch", "shop.images.fetch_album", "SUCCESS", 0, 4);
  b.node("group", "", "STARTED", null, 0);
  b.groups.group = [];
  for (let at = 0; at < size; at += 1) {
    const state = at < failed ? "FAILURE" : at < done ? "SUCCESS" : at < done + 8 ? "STARTED" : "READY";
    const id = b.node(
      `resize-${at}`,
      "shop.images.resize",
      state,
      4 + at * 0.6,
      b.chance.about(2),
      at < failed ? "PIL.UnidentifiedImageError: cannot identify image file" : "",
    );
    b.edge("fetch", id);
    b.edge(id, "group");
    b.groups.group.push(id);
  }
  b.node("album", "shop.images.publish_album", "WAITING", null, 0);
  b.edge("group", "album");
  b.node("notify", "shop.mail.album_ready", "WAITING", null, 0);
  b.edge("album", "notify");
  return b;
}

// Twenty shops, each a chain of a hundred different steps: nothing in it can be drawn as one.
function wide() {
  const b = new Builder(5, now - 4000);
  b.node("start", "shop.migrate.begin", "SUCCESS", 0, 3);
  b.node("end", "", "WAITING", null, 0);
  for (let shop = 0; shop < 20; shop += 1) {
    let before = "start";
    for (let step = 0; step < 100; step += 1) {
      const state =
        step < 60 + shop ? "SUCCESS" : step === 60 + shop ? (shop === 7 ? "FAILURE" : "STARTED") : "WAITING";
      const id = b.node(`${shop}.${step}`, `shop.migrate.${shop}_step_${step}`, state, 3 + step * 40, 35);
      b.edge(before, id);
      before = id;
    }
    b.edge(before, "end");
  }
  return b;
}

define("019ad100-flow-7000-9000-00000000f001", "order 481516", order);
define("019ad100-flow-7000-9000-00000000f002", "fetch_album | group(1,200 resize) | publish_album | album_ready", () =>
  album(1200, 700, 9),
);
define("019ad100-flow-7000-9000-00000000f003", "begin | group(20 chains of 100)", wide);
define("019ad100-flow-7000-9000-00000000f004", "fetch_album | group(24 resize) | publish_album", () =>
  album(24, 24, 0),
);

const older = Array.from({ length: 140 }, (_, place) => {
  const chance = chanceOf(place + 77);
  const total = Math.ceil(chance.about(9));
  const state = chance.next() < 0.86 ? "SUCCESS" : chance.next() < 0.6 ? "FAILURE" : "REVOKED";
  const created_at = now - 1200 - place * 611;
  const dead = state === "FAILURE" ? 1 : 0;
  return {
    id: chance.id(),
    name: `order ${481_515 - place}`,
    state,
    done: total - dead,
    total,
    dead,
    created_at,
    ended_at: created_at + chance.about(40),
  };
});

function summary({ id, name, build }) {
  const { nodes, began } = build();
  const tasks = nodes.filter((node) => node.task);
  const count = (...states) => tasks.filter((node) => states.includes(node.state)).length;
  const done = count("SUCCESS", "FAILURE", "REVOKED", "SKIPPED");
  const isOver = done === tasks.length;
  return {
    id,
    name,
    state: isOver ? "SUCCESS" : "RUNNING",
    done,
    total: tasks.length,
    dead: count("FAILURE"),
    created_at: began,
    ended_at: isOver ? now - 30 : null,
  };
}

export function list(query) {
  const all = [...[...builders.values()].map(summary), ...older];
  const [from, limit] = [Number(query.get("after") || 0), Number(query.get("limit") || 50)];
  const next = from + limit < all.length ? String(from + limit) : null;
  return { items: all.slice(from, from + limit), next, count: all.length, is_capped: false, note: "" };
}

export function detail(id) {
  const known = builders.get(id);
  if (known) {
    const { nodes, edges, groups } = known.build();
    const home = new Map(Object.entries(groups).flatMap(([id, members]) => members.map((member) => [member, id])));
    const told = Object.entries(groups).map(([group, members]) => ({
      id: group,
      name: "group",
      total: members.length,
      done: 0,
      dead: 0,
    }));
    return {
      flow: summary(known),
      nodes: nodes.map((node) => ({ ...node, group: home.get(node.id) ?? "" })),
      edges,
      groups: told,
      note: "",
    };
  }
  const found = older.find((each) => each.id === id);
  if (!found) return null;
  const b = new Builder(9, found.created_at);
  for (let at = 0; at < found.total; at += 1) {
    const state = at < found.done ? "SUCCESS" : found.state;
    b.node(
      `${found.id}-${at}`,
      "shop.orders.step",
      state,
      at * 3,
      2.5,
      state === "FAILURE" ? "ValueError: older_than must be positive" : "",
    );
    if (at) b.edge(`${found.id}-${at - 1}`, `${found.id}-${at}`);
  }
  return { flow: found, nodes: b.nodes, edges: b.edges, groups: [], note: "" };
}
