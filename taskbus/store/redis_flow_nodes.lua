-- Flows and their nodes as they are kept: each is read once in a step, changed in memory, and written once at its end.
--
-- A fragment: it completes `graph`, behind `redis_flow_bytes.lua`. What reads asks for many at once: a command for each
-- node would cost more than the rest.
--
-- Keys, each after the prefix. Those of one flow are in one slot of a Cluster.
--   flow:{ID}          hash: f (what never changes of a flow), s (how it stands: STATE), and for a node ID
--                      kID: ids of the nodes `after` it; wID: its message; vID: its value, or its failure;
--                      mN:ID, of a join: ids of its members, the Nth MEMBERS of them
--   flow:{ID}:nodes    hash: id -> node: HEAD, then what never changes of it (TAIL)
--   flow:{ID}:order    zset of ids, all of score 0, while somebody lists them
--   flows:{index}      zset: place .. ID, all of score 0: the flows in the order of `sent_at`
--
-- A flow is there once it has an `s`: nodes may be put there before, a part at a time.
local STATE = ">BBddI4I4I4I4I4I4I4I4I4" -- see redis_flow_records.py
local PAGE = 1000 -- values unpacked at once; Lua's stack takes less than 8000
local MEMBERS = 128
local FOREVER = 3153600000 -- seconds; PERSIST would be one more command to allow
local NONE = {}

-- --- flows ---

local function opened(set, id, static, state)
  local flow = {
    id = id, key = set.prefix .. "flow:{" .. id .. "}", nodes = {}, rest = {}, dirty = {}, changed = {},
    lists = {}, spliced = {}, pairs = {}, values = {},
  }
  local counts = {}
  flow.state, flow.is_cancelled, flow.ended_at, flow.over_at, flow.open, counts[WAITING], counts[READY],
    counts[STARTED], counts[SUCCESS], counts[FAILURE], counts[REVOKED], counts[SKIPPED], flow.dead = struct.unpack(STATE, state)
  flow.counts, flow.was = counts, flow.state
  flow.last, flow.ttl = unpack(cmsgpack.unpack(static))
  set.flows[id] = flow
  set.list[#set.list + 1] = flow
  return flow
end

-- The flow, or nil: also where it is over by the clock that was passed in.
function graph.find(set, id)
  local flow = set.flows[id]
  if flow == nil then
    local static, state = unpack(redis.call("HMGET", set.prefix .. "flow:{" .. id .. "}", "f", "s"))
    flow = state and opened(set, id, static, state) or false
    if flow and flow.over_at <= set.now then
      flow, set.over[id], set.list[#set.list] = false, true, nil
    end
    set.flows[id] = flow
  end
  return flow or nil
end

-- A flow that was not there: `nodes` and `rest` are lists of names and values, to be written with it; `before`: how
-- many nodes were put there before.
function graph.begin(set, id, static, state, place, nodes, rest, before)
  local flow = opened(set, id, static, state)
  flow.static, flow.place, flow.is_over, flow.is_changed = static, place, set.over[id], true
  if before > 0 then
    flow.was_put_before = true
    if redis.call("HLEN", flow.key .. ":nodes") ~= before then
      error("the nodes of flow " .. id .. " are gone, though they were put there a moment ago")
    end
  else
    flow.new_nodes, flow.new_rest = nodes, rest
  end
  return flow
end

-- --- nodes ---

local function mapped(list)
  local map = {}
  for at = 1, #list, 2 do
    map[list[at]] = list[at + 1]
  end
  return map
end

-- The values of fields of a hash; of a flow that is new, of what it is begun with.
local function fetched(flow, key, fields, new)
  local found = {}
  if flow[new] then
    flow[new .. "_map"] = flow[new .. "_map"] or mapped(flow[new])
    for n, field in ipairs(fields) do
      found[n] = flow[new .. "_map"][field] or false
    end
    return found
  end
  for start = 1, #fields, PAGE do
    local stop = math.min(start + PAGE - 1, #fields)
    for n, value in ipairs(redis.call("HMGET", key, unpack(fields, start, stop))) do
      found[start + n - 1] = value
    end
  end
  return found
end

-- The bytes of nodes as they are by now, but for what `load` has at hand; false for those that are not there.
function graph.raw(flow, ids)
  local found = fetched(flow, flow.key .. ":nodes", ids, "new_nodes")
  if next(flow.spliced) then
    for n, id in ipairs(ids) do
      found[n] = flow.spliced[id] or found[n]
    end
  end
  return found
end

-- The bytes of a node that is not at hand have changed.
function graph.splice(flow, id, bytes)
  flow.spliced[id] = bytes
  flow.pairs[#flow.pairs + 1] = id
  flow.pairs[#flow.pairs + 1] = bytes
  flow.is_changed = true
end

function graph.keep(flow, id, bytes)
  if flow.nodes[id] == nil then
    flow.nodes[id] = bytes and decode(id, bytes)
  end
end

-- Have these nodes at hand: `flow.nodes[id]` is false for one that is not there.
function graph.load(flow, ids)
  local wanted, seen = {}, {}
  for _, id in ipairs(ids) do
    if flow.nodes[id] == nil and not seen[id] then
      seen[id] = true
      wanted[#wanted + 1] = id
    end
  end
  if #wanted > 0 then
    for n, bytes in ipairs(graph.raw(flow, wanted)) do
      graph.keep(flow, wanted[n], bytes)
    end
  end
end

function graph.node(flow, id)
  if flow.nodes[id] == nil then
    graph.load(flow, { id })
  end
  return flow.nodes[id] or nil
end

function graph.touch(flow, node)
  if not node.is_dirty then
    node.is_dirty = true
    flow.dirty[#flow.dirty + 1] = node
    flow.is_changed = true
  end
end

function graph.add(flow, id, bytes)
  local node = decode(id, bytes)
  flow.nodes[id] = node
  graph.touch(flow, node)
  return node
end

-- --- the rest ---

-- Have these fields at hand: `flow.rest[field]` is false for one that is not there.
function graph.load_rest(flow, fields)
  local rest, wanted = flow.rest, {}
  for _, field in ipairs(fields) do
    if rest[field] == nil then
      rest[field] = false
      wanted[#wanted + 1] = field
    end
  end
  if #wanted > 0 then
    for n, value in ipairs(fetched(flow, flow.key, wanted, "new_rest")) do
      rest[wanted[n]] = value
    end
  end
end

function graph.rest(flow, field)
  if flow.rest[field] == nil then
    graph.load_rest(flow, { field })
  end
  return flow.rest[field]
end

-- What is read of values and failures in a row, as they are kept.
function graph.raw_rest(flow, fields)
  return fetched(flow, flow.key, fields, "new_rest")
end

-- The value of a node that nobody reads again in this step.
function graph.add_value(flow, id, value)
  flow.values[#flow.values + 1] = "v" .. id
  flow.values[#flow.values + 1] = value
end

-- `value` false: take it out.
function graph.set_rest(flow, field, value)
  flow.rest[field] = value
  flow.changed[field] = true
  flow.is_changed = true
end

-- Have the lists of the nodes after these at hand.
function graph.load_lists(flow, nodes)
  local fields = {}
  for _, node in ipairs(nodes) do
    if node.has_kids == 1 and not node.kids then
      fields[#fields + 1] = "k" .. node.id
    end
  end
  if #fields > 0 then
    graph.load_rest(flow, fields)
  end
end

-- Have the nodes after these at hand.
function graph.load_kids(flow, nodes)
  local ids = {}
  graph.load_lists(flow, nodes)
  for _, node in ipairs(nodes) do
    for _, id in ipairs(graph.kids(flow, node)) do
      ids[#ids + 1] = id
    end
  end
  graph.load(flow, ids)
end

function graph.kids(flow, node)
  if node.has_kids == 0 then
    return NONE
  elseif not node.kids then
    node.kids = cmsgpack.unpack(graph.rest(flow, "k" .. node.id))
  end
  return node.kids
end

-- Go over the nodes after this one. Its list may still have one that was replaced and is after another by now.
function graph.each_kid(flow, node, act)
  for _, id in ipairs(graph.kids(flow, node)) do
    local kid = graph.node(flow, id)
    if kid and kid.after == node.id then
      act(kid)
    end
  end
end

function graph.add_kid(flow, parent, kid)
  local kids = parent.has_kids == 1 and graph.kids(flow, parent) or {}
  kids[#kids + 1] = kid.id
  parent.kids = kids
  parent.has_kids, parent.has_new_kids = 1, true
  graph.touch(flow, parent)
end

-- The ids of a join's members.
function graph.members(flow, join)
  local fields, ids = {}, {}
  for n = 0, math.ceil(join.members / MEMBERS) - 1 do
    fields[#fields + 1] = "m" .. n .. ":" .. join.id
  end
  graph.load_rest(flow, fields)
  for _, field in ipairs(fields) do
    for _, id in ipairs(flow.lists[field] or cmsgpack.unpack(flow.rest[field])) do
      ids[#ids + 1] = id
    end
  end
  return ids
end

function graph.add_member(flow, join, member)
  local field = "m" .. math.floor(join.members / MEMBERS) .. ":" .. join.id
  local ids = flow.lists[field]
  if not ids then
    ids = join.members % MEMBERS > 0 and cmsgpack.unpack(graph.rest(flow, field)) or {}
    flow.lists[field] = ids
  end
  ids[#ids + 1] = member.id
  join.members = join.members + 1
  graph.touch(flow, join)
end

-- --- writing ---

local function write_all(key, list)
  for start = 1, #list, PAGE do
    redis.call("HSET", key, unpack(list, start, math.min(start + PAGE - 1, #list)))
  end
end

local function drop(flow_key)
  redis.call("DEL", flow_key, flow_key .. ":nodes", flow_key .. ":order")
end

-- Put nodes there before their flow is begun. Who dies before that leaves them to Redis to delete.
function graph.put_before(set, id, nodes, rest, seconds)
  local key = set.prefix .. "flow:{" .. id .. "}"
  if graph.find(set, id) then
    return
  elseif set.over[id] then
    drop(key)
  end
  write_all(key .. ":nodes", nodes)
  write_all(key, rest)
  redis.call("EXPIRE", key .. ":nodes", seconds)
  redis.call("EXPIRE", key, seconds)
end

local function write_fields(flow)
  for field, ids in pairs(flow.lists) do
    graph.set_rest(flow, field, cmsgpack.pack(ids))
  end
  write_all(flow.key, flow.values)
  local list = { "s", struct.pack(STATE, flow.state, flow.is_cancelled, flow.ended_at, flow.over_at, flow.open,
    flow.counts[WAITING], flow.counts[READY], flow.counts[STARTED], flow.counts[SUCCESS], flow.counts[FAILURE],
    flow.counts[REVOKED], flow.counts[SKIPPED], flow.dead) }
  if flow.static then
    list[3], list[4] = "f", flow.static
  end
  for field in pairs(flow.changed) do
    if flow.rest[field] then
      list[#list + 1] = field
      list[#list + 1] = flow.rest[field]
    else
      redis.call("HDEL", flow.key, field)
    end
  end
  write_all(flow.key, list)
end

local function write_nodes(flow)
  local list = flow.pairs
  for _, node in ipairs(flow.dirty) do
    if node.has_new_kids then
      graph.set_rest(flow, "k" .. node.id, cmsgpack.pack(node.kids))
    end
    list[#list + 1] = node.id
    list[#list + 1] = encode(node)
  end
  write_all(flow.key .. ":nodes", list)
end

local function expire(set, flow)
  local seconds = FOREVER
  if flow.state > 0 then
    seconds = math.min(math.ceil(flow.ttl), FOREVER) + (set.now > 0 and 86400 or 0)
  end
  redis.call("EXPIRE", flow.key, seconds)
  redis.call("EXPIRE", flow.key .. ":nodes", seconds)
end

-- Raise an error, before anything is written, where the index holds something of another program's.
function graph.look_at_index(set)
  for _, flow in ipairs(set.list) do
    if flow.place then
      redis.call("ZCARD", set.prefix .. "flows:{index}")
      return
    end
  end
end

-- Write all that was changed. `in_index` is false on a Cluster, where the index is in another slot.
function graph.write(set, in_index)
  for _, flow in ipairs(set.list) do
    if flow.is_changed then
      if flow.is_over then
        drop(flow.key)
      end
      if flow.new_nodes then
        write_all(flow.key .. ":nodes", flow.new_nodes)
        write_all(flow.key, flow.new_rest)
      end
      write_nodes(flow)
      write_fields(flow)
      if flow.was ~= flow.state or flow.was_put_before then
        expire(set, flow)
      end
      if flow.place and in_index then
        redis.call("ZADD", set.prefix .. "flows:{index}", 0, flow.place .. flow.id)
      end
    end
  end
end
