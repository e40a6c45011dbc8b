-- Start nodes of flows, and read what they are given. `redis_flow_nodes.lua`, and all it is behind, stands in front.
--
-- KEYS   one that does not exist, on a Cluster in the slot of the flow
-- ARGV   the payload: {prefix, an instant to judge by or 0, the present instant, {flow, node, copy, at}, ...}
-- Returns a list for each start: its verdict, then what it is given, one item after the other: 1, node, its HEAD and
-- TAIL, its value (or failure, or ""); or 2, node, HEAD and TAIL, how many members follow, then those; or 3, node, HEAD
-- and TAIL, "", then the task in whose place that join failed.
local TASK = 0
local RUN, ENDED, DUPLICATE, REVOKED_FIRST, UNKNOWN = 0, 1, 2, 3, 4
local prefix, now, at, starts = unpack(cmsgpack.unpack(ARGV[1]))
local set = { prefix = prefix, now = now, at = at, flows = {}, list = {}, over = {} }
redis.call("DEL", KEYS[1]) -- a write that needs no memory: after it none is refused for want of memory

local function start(flow, id, copy, started_at)
  local bytes = flow and flow.spliced[id] or flow and flow.bytes[id]
  if not bytes or string.byte(bytes, KIND) ~= TASK then
    return UNKNOWN
  end
  local state = string.byte(bytes)
  if state >= SUCCESS or state == WAITING then
    return ENDED
  elseif state == READY and graph.generation(copy) < graph.generation(graph.copy_of(bytes)) then
    return ENDED -- of a task that was replaced by this one
  elseif state == STARTED and graph.copy_of(bytes) ~= copy then
    return DUPLICATE
  elseif flow.is_cancelled == 1 then
    return REVOKED_FIRST
  elseif state == STARTED then
    if graph.rests(bytes) then
      graph.splice(flow, id, graph.resumed(bytes))
    end
    return RUN, bytes
  end
  graph.splice(flow, id, graph.started(bytes, started_at, struct.pack(">H", #copy) .. copy))
  if string.byte(bytes, IS_OPEN) == 0 then
    flow.counts[READY] = flow.counts[READY] - 1
    flow.counts[STARTED] = flow.counts[STARTED] + 1
  end
  return RUN, bytes
end

-- Append what these nodes give: the values of the members of a join that succeeded, a value, or a failure.
local function give(flow, ids, answer)
  local fields = {}
  for n, id in ipairs(ids) do
    fields[n] = "v" .. id
  end
  local nodes, values = graph.raw(flow, ids), graph.raw_rest(flow, fields)
  for n, id in ipairs(ids) do
    local bytes = nodes[n]
    local cause = bytes and string.byte(bytes, KIND) ~= TASK and graph.cause_of(bytes) or ""
    if cause ~= "" and graph.raw(flow, { cause })[1] then
      answer[#answer + 1] = 3
      answer[#answer + 1] = id
      answer[#answer + 1] = bytes
      answer[#answer + 1] = ""
      give(flow, { cause }, answer)
    elseif bytes then
      local is_list = string.byte(bytes, KIND) ~= TASK and string.byte(bytes) == SUCCESS
      local members = is_list and graph.members(flow, graph.node(flow, id))
      answer[#answer + 1] = is_list and 2 or 1
      answer[#answer + 1] = id
      answer[#answer + 1] = bytes
      answer[#answer + 1] = is_list and #members or values[n] or ""
      if is_list then
        give(flow, members, answer)
      end
    end
  end
end

local wanted = {}
for _, each in ipairs(starts) do
  local flow = graph.find(set, each[1])
  if flow then
    wanted[flow] = wanted[flow] or {}
    table.insert(wanted[flow], each[2])
  end
end
for flow, ids in pairs(wanted) do
  flow.bytes = {}
  for n, bytes in ipairs(graph.raw(flow, ids)) do
    flow.bytes[ids[n]] = bytes
  end
end
local answers = {}
for n, each in ipairs(starts) do
  local flow = graph.find(set, each[1])
  local verdict, bytes = start(flow, each[2], each[3], each[4])
  answers[n] = { verdict }
  if verdict == RUN and string.byte(bytes, GIVES) >= 2 then
    local after = graph.edges_of(bytes)
    if after ~= "" then
      give(flow, { after }, answers[n])
    end
  end
end
graph.write(set, false)
return answers
