-- A set of changes of which some are of flows: behind `redis_flow_changes.lua`.
--
-- A fragment: it completes `flows`. The payload is that of `redis_changes.lua` with two more: {..., the changes of
-- flows, the present instant}.

function flows.open(payload)
  local prefix, now, asks, changes, flow_changes, at = unpack(cmsgpack.unpack(payload))
  return {
    prefix = prefix, now = now, asks = asks, changes = changes, flow_changes = flow_changes, at = at,
    flows = {}, list = {}, over = {}, ready = {}, results = {},
  }
end

local function end_flow_if_complete(set, flow)
  if flow.open > 0 then
    flow.state, flow.ended_at, flow.over_at = 0, 0, math.huge
    return
  elseif flow.state > 0 then
    return
  end
  local last = flow.last ~= "" and graph.node(flow, flow.last)
  if last then
    flow.state = has_failed(last) and last.state or SUCCESS
  elseif flow.counts[FAILURE] > 0 then
    flow.state = FAILURE
  else
    flow.state = flow.counts[REVOKED] > 0 and REVOKED or SUCCESS
  end
  flow.ended_at, set.rings = set.at, true
  flow.over_at = set.now > 0 and set.now + flow.ttl or math.huge
end

-- Do all changes, in their order. False: it is refused.
function flows.run(set)
  for _, change in ipairs(set.flow_changes) do
    if not act[change[1]](set, change) then
      return false
    end
  end
  for _, flow in ipairs(set.list) do
    if flow.is_changed then
      end_flow_if_complete(set, flow)
    end
  end
  return true
end

-- {queue, priority, wire, due instant or 0} of each that is to be published.
function flows.to_publish(set)
  local fields, parcels = {}, {}
  for _, each in ipairs(set.ready) do
    local flow, id = each[1], each[2]
    fields[flow] = fields[flow] or {}
    table.insert(fields[flow], "w" .. id)
  end
  for flow, wanted in pairs(fields) do
    graph.load_rest(flow, wanted)
    flow.published = {}
  end
  for _, each in ipairs(set.ready) do
    local flow, id, at = each[1], each[2], each[3]
    local wire = flow.rest["w" .. id]
    local state, _, queue, priority, _, due_at, delay = graph.state_and_tail(flow, id)
    if wire and state == READY and not flow.published[id] then
      flow.published[id] = true
      parcels[#parcels + 1] = { queue, priority, wire, math.max(due_at, delay > 0 and at + delay or 0) }
    end
  end
  return parcels
end

-- The changes of results of tasks that never ran, as `store` has them; "d": delete it.
function flows.results(set)
  local changes = {}
  for n, each in ipairs(set.results) do
    changes[n] = each
    if each[1] == "r" then
      local ttl = math.min(each[3], FOREVER)
      local kept_for = ttl + (set.now > 0 and 86400 or 0)
      local head = struct.pack(">c1d", "F", set.now > 0 and set.now + ttl or math.huge)
      changes[n] = { "r", each[2], math.max(1, math.floor(kept_for * 1000)), head .. each[4] }
    end
  end
  return changes
end

-- All of a set, where all keys are in one place: what is to be published, or nil: it was refused, nothing was written.
function flows.apply(set)
  if store.refuses(set) or not flows.run(set) then
    return nil
  end
  local parcels = flows.to_publish(set)
  graph.look_at_index(set)
  store.apply(set)
  graph.write(set, true)
  for _, change in ipairs(flows.results(set)) do
    if change[1] == "d" then
      redis.call("DEL", set.prefix .. "result:{" .. change[2] .. "}")
    else
      save_result(set.prefix, change, set.now)
    end
  end
  if set.rings then
    redis.pcall("PUBLISH", set.prefix .. "finished", "")
  end
  return parcels
end
