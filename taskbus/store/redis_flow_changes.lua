-- What each change does to a flow: behind `redis_flows.lua`.
--
-- A fragment: it only defines `act`, a function by the letter of each change, {letter, flow, ...}; they are packed by
-- redis_flow_changes.py. Each returns false to refuse the set.
local act = {}
local PATH, MAX_PATH = 8, 200 -- where a node's path is in its TAIL; how long it may be

-- --- new nodes: {id, bytes, wire} each ---

local function ids_of(given, must_have_wire)
  local ids = {}
  for _, each in ipairs(given) do
    if not must_have_wire or each[3] ~= "" then
      ids[#ids + 1] = each[1]
    end
  end
  return ids
end

local function missing(flow, given)
  local new = {}
  graph.load(flow, ids_of(given))
  for _, each in ipairs(given) do
    if not graph.node(flow, each[1]) then
      new[#new + 1] = each
    end
  end
  return new
end

local function put(flow, each)
  local node = graph.add(flow, each[1], each[2])
  if each[3] ~= "" then
    graph.set_rest(flow, "w" .. each[1], each[3])
  end
  return node
end

local function link(flow, node)
  local join = node.join ~= "" and graph.node(flow, node.join)
  if join then
    graph.add_member(flow, join, node)
  end
  local before = node.after ~= "" and graph.node(flow, node.after)
  if before then
    graph.add_kid(flow, before, node)
  end
end

-- Add nodes that are not there, and make READY what waits for nothing. `replaced`: one that was put in the place of
-- another, and may be after one of these.
local function add(set, flow, new, replaced)
  local nodes, ids, ended = {}, { replaced and replaced.after }, {}
  for n, each in ipairs(new) do
    local node = put(flow, each)
    node.state = WAITING
    count(flow, node, 1)
    nodes[n] = node
    ids[#ids + 1] = node.after ~= "" and node.after or nil
    ids[#ids + 1] = node.join ~= "" and node.join or nil
  end
  graph.load(flow, ids)
  for _, node in ipairs(nodes) do
    link(flow, node)
    local join = node.join ~= "" and graph.node(flow, node.join)
    if join and join.is_open ~= CLOSED then
      join.left = join.left + 1
    end
  end
  if replaced then
    local before = graph.node(flow, replaced.after)
    if before then
      graph.add_kid(flow, before, replaced)
    end
  end
  for _, node in ipairs(nodes) do
    if node.after == "" then
      make_ready(set, flow, node, set.at, ended)
    end
  end
  settle(set, flow, ended, set.at)
end

-- What was made READY when these were added, and was not STARTED since.
local function publish_unsent(set, flow, ids)
  graph.load(flow, ids)
  for _, id in ipairs(ids) do
    local node = graph.node(flow, id)
    if node and is_unsent(node) then
      publish(set, flow, node, set.at)
    end
  end
end

-- --- the changes ---

-- {"N", flow, nodes, rest, seconds}: nodes of a flow that is begun later, and deleted after that time if it is not.
function act.N(set, change)
  graph.put_before(set, unpack(change, 2))
  return true
end

-- {"B", flow, static, state, place, nodes, rest, joins that may be complete, tasks to publish, how many nodes are there
-- already}
function act.B(set, change)
  local _, id, static, state, place, nodes, rest, joins, tasks, before = unpack(change)
  local flow, ended = graph.find(set, id), {}
  if not flow then
    flow = graph.begin(set, id, static, state, place, nodes, rest, before)
    for _, join in ipairs(joins) do
      complete(flow, graph.node(flow, join), set.at, ended)
    end
    settle(set, flow, ended, set.at)
  else
    for n = 1, #rest, 2 do
      tasks[#tasks + 1] = string.match(rest[n], "^w(.*)$")
    end
  end
  publish_unsent(set, flow, tasks)
  return true
end

-- {"A", flow, nodes}
function act.A(set, change)
  local flow, given = graph.find(set, change[2]), change[3]
  if not flow then
    return false
  end
  local new, ids = missing(flow, given), {}
  for n, each in ipairs(new) do
    local _, join = graph.edges_of(each[2])
    ids[n] = join
  end
  graph.load(flow, ids)
  for _, id in ipairs(ids) do
    local join = graph.node(flow, id)
    if join and has_ended(join) then
      return false
    end
  end
  add(set, flow, new)
  if #new < #given then
    publish_unsent(set, flow, ids_of(given, true))
  end
  return true
end

-- {"S", flow, join}
function act.S(set, change)
  local flow = graph.find(set, change[2])
  local join = flow and graph.node(flow, change[3])
  if not join or join.kind == TASK or join.is_open == CLOSED then
    return true
  elseif has_ended(join) then
    again(set, flow, { join }, set.at)
  elseif join.is_open == OPEN then
    local ended = {}
    join.is_open = SEALED
    graph.touch(flow, join)
    complete(flow, join, set.at, ended)
    settle(set, flow, ended, set.at)
  end
  return true
end

local function may_end_simply(bytes)
  if not bytes then
    return false
  end
  local state = string.byte(bytes)
  return string.byte(bytes, KIND) == TASK and string.byte(bytes, IS_OPEN) == CLOSED
    and (state == STARTED or state == READY)
end

-- Most of what ends are tasks that succeed: these by their bytes alone. Returns where in `list` (that of `act.E`) the
-- others begin; those that others wait for, of which only what `settle` asks is there; and how many of which join have
-- ended, and when the last did.
local function end_simply(flow, list)
  local ids, left, wave, joins = {}, {}, {}, {}
  for n = 1, #list, 4 do
    ids[#ids + 1] = list[n]
  end
  local head, head_at
  for n, bytes in ipairs(graph.raw(flow, ids)) do
    local id, place = ids[n], 4 * n - 3
    local state, at, value = list[place + 1], list[place + 2], list[place + 3]
    if flow.nodes[id] ~= nil or flow.spliced[id] or state ~= SUCCESS or not may_end_simply(bytes) then
      graph.keep(flow, id, flow.spliced[id] or bytes)
      left[#left + 1] = place
    else
      local before = string.byte(bytes)
      if at ~= head_at then
        head, head_at = struct.pack(">Bd", SUCCESS, at), at
      end
      graph.splice(flow, id, graph.ended(bytes, head))
      if string.byte(bytes, GIVES) % 2 == 1 then
        graph.add_value(flow, id, value)
      end
      flow.counts[before] = flow.counts[before] - 1
      flow.counts[SUCCESS] = flow.counts[SUCCESS] + 1
      flow.open = flow.open - 1
      local _, join = graph.edges_of(bytes)
      if join ~= "" then
        joins[join] = (joins[join] or 0) + 1
      end
      if string.byte(bytes, HAS_KIDS) == 1 then
        local node = { id = id, state = SUCCESS, ended_at = at, has_kids = 1, join = "", cause = "", failed = 0 }
        wave[#wave + 1] = node
      end
    end
  end
  return left, wave, joins, head_at
end

-- {"E", flow, {node, state, at, value or failure, the next node, ...}}: all of them end at once.
function act.E(set, change)
  local flow, list = graph.find(set, change[2]), change[3]
  if not flow then
    return true
  end
  local left, wave, joins, at = end_simply(flow, list)
  local repeated, ended, waiting = {}, {}, {}
  for _, place in ipairs(left) do
    local node, state = graph.node(flow, list[place]), list[place + 1]
    if not node or node.kind ~= TASK then
      node = nil
    elseif has_ended(node) or node.state == WAITING then
      repeated[#repeated + 1] = node
    elseif state == SKIPPED then
      publish_unsent(set, flow, { node.id })
    else
      finish(flow, node, state, list[place + 2], nil, "")
      if list[place + 3] ~= "" and (state ~= SUCCESS or node.gives % 2 == 1) then
        graph.set_rest(flow, "v" .. node.id, list[place + 3])
      end
      wave[#wave + 1] = node
    end
  end
  settle(set, flow, wave, set.at)
  settle(set, flow, members_ended(flow, joins, at), set.at)
  for _, node in ipairs(repeated) do
    table.insert(has_ended(node) and ended or waiting, node)
  end
  again(set, flow, ended, set.at)
  upstream(set, flow, waiting, set.at)
  return true
end

-- {"V", flow, node, whether its message is sent}
function act.V(set, change)
  local flow = graph.find(set, change[2])
  local node = flow and graph.node(flow, change[3])
  return node and revive(set, flow, node, change[4], set.at) or false
end

-- {"P", flow, node}
function act.P(set, change)
  local flow = graph.find(set, change[2])
  local node = flow and graph.node(flow, change[3])
  if not node or node.kind ~= TASK or node.state ~= STARTED then
    return true
  elseif flow.is_cancelled == 1 then
    finish_unrun(set, flow, node, REVOKED, set.at, nil, "")
    settle(set, flow, { node }, set.at)
  else
    node.left = RESTS
    graph.touch(flow, node)
  end
  return true
end

-- Its path goes on from that of the node that is replaced by so many; there is none where that has none.
local function set_path(node, place, count)
  local tail = cmsgpack.unpack(node.tail)
  local inner = place .. "." .. tail[PATH]
  tail[PATH] = place ~= "" and count > 1 and #inner <= MAX_PATH and inner or place
  node.tail = cmsgpack.pack(tail)
end

-- Put a new node in the place of one that was started, under its id, and with it those that it is the end of.
local function put_in_place(set, flow, node, each, others)
  local place = cmsgpack.unpack(node.tail)[PATH]
  count(flow, node, -1)
  local new, ended = put(flow, each), {}
  new.state, new.join, new.place, new.has_kids, new.kids = WAITING, node.join, node.place, node.has_kids, node.kids
  new.copy = graph.of_generation(graph.generation(node.copy) + 1)
  new.gives = new.gives - new.gives % 2 + node.gives % 2
  count(flow, new, 1)
  local is_ready = new.after == ""
  if is_ready then
    new.after = node.after
  end
  add(set, flow, others, new.after ~= node.after and new or nil)
  for _, other in ipairs(others) do
    set_path(graph.node(flow, other[1]), place, 1 + #others)
  end
  set_path(new, place, 1 + #others)
  if is_ready then
    make_ready(set, flow, new, set.at, ended)
    settle(set, flow, ended, set.at)
  end
end

-- {"R", flow, static, state, place, nodes}
function act.R(set, change)
  local _, id, static, state, place, given = unpack(change)
  local flow = graph.find(set, id)
  if not flow then
    add(set, graph.begin(set, id, static, state, place, {}, {}, 0), given)
    return true
  end
  local there = {}
  graph.load(flow, ids_of(given))
  for _, each in ipairs(given) do
    local node = graph.node(flow, each[1])
    if node then
      there[#there + 1] = { node, each }
    end
  end
  local node, each = unpack(there[1] or {})
  if #there ~= 1 or node.state ~= STARTED or node.kind ~= TASK then
    publish_unsent(set, flow, ids_of(given))
  elseif #given > 1 or each[3] ~= (graph.rest(flow, "w" .. node.id) or "") then
    put_in_place(set, flow, node, each, missing(flow, given))
  end
  return true
end

-- End what will not start of these, and joins that nobody may seal any more.
local function call_off(set, flow, ids)
  local ended = {}
  graph.load(flow, ids)
  for _, id in ipairs(ids) do
    local node = graph.node(flow, id)
    if not node then
      node = nil
    elseif node.kind == TASK and (node.state == READY or node.state == STARTED and node.left == RESTS) then
      finish_unrun(set, flow, node, REVOKED, set.at, nil, "")
      ended[#ended + 1] = node
    elseif node.kind ~= TASK and node.state == READY and node.is_open == OPEN then
      node.is_open = SEALED
      finish(flow, node, REVOKED, set.at, nil, "")
      ended[#ended + 1] = node
    end
  end
  settle(set, flow, ended, set.at)
end

-- {"C", flow, nodes}
function act.C(set, change)
  local flow = graph.find(set, change[2])
  if flow and flow.state == 0 then
    flow.is_cancelled, flow.is_changed = 1, true
    call_off(set, flow, change[3])
  end
  return true
end
