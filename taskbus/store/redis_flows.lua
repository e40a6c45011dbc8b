-- The rules of flows: see taskbus/store/flows.py, whose words are used here.
--
-- A fragment: it only defines `flows`, behind `redis_changes.lua` and `redis_flow_nodes.lua`. What a set asks for is
-- done to what was read of a flow, and refused or not, before anything is written: so nothing fails half way.
--
-- What it comes to, beside what `graph` writes: `set.ready`, {flow, node, at} to publish; `set.results`, {op, id, ...}
-- to save ("r") or delete ("d") for tasks that never ran; `set.rings`: somebody may wait for that.
local TASK, FAIL_FAST, COLLECT, TALLY = 0, 1, 2, 3
local ON_SUCCESS, ON_FAILURE, ON_DEATH, ALWAYS = 0, 1, 2, 3
local CLOSED, OPEN, SEALED = 0, 1, 2
local RESTS = 1 -- `left` of a task between two attempts
local NAMES = { [FAILURE] = "FAILURE", [REVOKED] = "REVOKED", [SKIPPED] = "REVOKED" }
local flows = {}

local function has_ended(node)
  return node.state >= SUCCESS
end

local function has_failed(node)
  return node.state == FAILURE or node.state == REVOKED
end

local function count(flow, node, by)
  if node.kind == TASK and node.is_open == CLOSED then
    flow.counts[node.state] = flow.counts[node.state] + by
    if node.state == FAILURE and node.cause == "" then
      flow.dead = flow.dead + by
    end
  end
  if not has_ended(node) then
    flow.open = flow.open + by
  end
end

local function stand(flow, node, state)
  count(flow, node, -1)
  node.state = state
  count(flow, node, 1)
  graph.touch(flow, node)
end

local function publish(set, flow, node, at)
  if node.kind == TASK then
    set.ready[#set.ready + 1] = { flow, node.id, at }
  end
end

-- --- failures: {type, message, traceback}, packed ---

local function failure_of(flow, node)
  return graph.rest(flow, "v" .. node.id) or nil
end

-- That a node failed, or was revoked.
local function blame(flow, node)
  local failure = failure_of(flow, node)
  if node.cause ~= "" and failure then
    return failure
  end
  local said = failure and cmsgpack.unpack(failure)[2] or NAMES[node.state]
  local message = "task " .. graph.tail(node) .. " (" .. node.id .. ") failed: " .. said
  return cmsgpack.pack({ "taskbus.errors.FlowFailed", message, "" })
end

-- What is said of those that end because a node ended like this.
local function passed_on(flow, node)
  if node.state ~= FAILURE then
    return nil
  elseif node.cause ~= "" then
    return failure_of(flow, node)
  end
  if not node.blame then
    node.blame = blame(flow, node)
  end
  return node.blame
end

-- --- ends ---

-- `cause`: the node whose failure it is, "" where it is its own.
local function finish(flow, node, state, at, failure, cause)
  count(flow, node, -1)
  node.state, node.ended_at, node.cause = state, at, cause
  count(flow, node, 1)
  graph.touch(flow, node)
  if failure or cause ~= "" or node.kind == TALLY then
    graph.set_rest(flow, "v" .. node.id, failure or false)
  end
end

-- A node ends without having run: whoever waits for its result learns it. What is packed is a StoredResult.
local function finish_unrun(set, flow, node, state, at, failure, cause)
  finish(flow, node, state, at, failure, cause)
  local task, _, _, ttl = graph.tail(node)
  if node.kind == TASK and ttl > 0 then
    local record = cmsgpack.pack(task, NAMES[state], nil, "msgpack", 1, 0, at)
    if failure then
      record = "\154" .. record .. cmsgpack.pack(unpack(cmsgpack.unpack(failure)))
    else
      record = "\151" .. record
    end
    set.results[#set.results + 1] = { "r", node.id, ttl, record }
    set.rings = true
  end
end

-- End a join that waits for nothing any more.
local function complete(flow, join, at, ended)
  if join.state ~= READY or join.left > 0 or join.is_open == OPEN then
    return
  elseif join.kind == TALLY and join.failed > 0 and flow.is_cancelled == 1 then
    finish(flow, join, REVOKED, at, nil, join.cause)
  elseif join.kind == TALLY and join.failed > 0 then
    finish(flow, join, FAILURE, at, failure_of(flow, join), join.cause)
  else
    finish(flow, join, SUCCESS, at, nil, "")
  end
  ended[#ended + 1] = join
end

-- What a node waited for is there; it goes to `ended` if that is its end too.
local function make_ready(set, flow, node, at, ended)
  if flow.is_cancelled == 1 then
    finish_unrun(set, flow, node, REVOKED, at, nil, "")
    ended[#ended + 1] = node
    return
  end
  stand(flow, node, READY)
  if node.kind == TASK then
    publish(set, flow, node, at)
  else
    complete(flow, node, at, ended)
  end
end

-- --- what follows from them ---

local function fits(when, before)
  if before.state == SKIPPED then
    return false
  elseif when == ON_SUCCESS then
    return before.state == SUCCESS
  elseif when == ON_FAILURE then
    return has_failed(before)
  end
  return when == ALWAYS or before.failed > 0
end

local function follow(set, flow, node, before, ended)
  local at = before.ended_at
  if fits(node.when, before) then
    make_ready(set, flow, node, at, ended)
    return
  elseif before.state == SKIPPED or node.when == ON_FAILURE or node.when == ON_DEATH then
    finish_unrun(set, flow, node, SKIPPED, at, nil, "")
  else
    local cause = before.cause ~= "" and before.cause or before.id
    finish_unrun(set, flow, node, before.state, at, passed_on(flow, before), cause)
  end
  ended[#ended + 1] = node
end

-- Tell a join of the end of a member; whether it is the first to fail of one that tells of that.
local function member_ended(flow, join, node, ended)
  local is_failure = has_failed(node)
  join.left = join.left - 1
  join.failed = join.failed + (is_failure and 1 or 0)
  graph.touch(flow, join)
  if has_ended(join) then
    return false
  end
  local cause = node.cause ~= "" and node.cause or node.id
  if join.kind == FAIL_FAST and is_failure then
    finish(flow, join, node.state, node.ended_at, passed_on(flow, node), cause)
    ended[#ended + 1] = join
    return false
  end
  local is_alarmed = join.kind == TALLY and is_failure and join.failed == 1
  if is_alarmed then
    join.cause = cause
    graph.set_rest(flow, "v" .. join.id, blame(flow, node))
  end
  complete(flow, join, node.ended_at, ended)
  return is_alarmed
end

-- So many members have succeeded of joins, by their ids: those that end by it.
local function members_ended(flow, counts, at)
  local ids, ended = {}, {}
  for id in pairs(counts) do
    ids[#ids + 1] = id
  end
  graph.load(flow, ids)
  for _, id in ipairs(ids) do
    local join = graph.node(flow, id)
    if join then
      join.left = join.left - counts[id]
      graph.touch(flow, join)
      complete(flow, join, at, ended)
    end
  end
  return ended
end

local function joined(flow, nodes)
  local ids, seen = {}, {}
  for _, node in ipairs(nodes) do
    if node.join ~= "" and not seen[node.join] then
      seen[node.join] = true
      ids[#ids + 1] = node.join
    end
  end
  graph.load(flow, ids)
  return ids
end

-- Make READY the tasks that were to run upon these successes, most of them by their bytes alone. Returns what else
-- waits: {it, what it waits for} each.
local function make_ready_simply(set, flow, wave)
  local ids, before, left = {}, {}, {}
  graph.load_lists(flow, wave)
  for _, node in ipairs(wave) do
    for _, id in ipairs(graph.kids(flow, node)) do
      ids[#ids + 1], before[#before + 1] = id, node
    end
  end
  for n, bytes in ipairs(#ids > 0 and graph.raw(flow, ids) or ids) do
    local id, node = ids[n], before[n]
    local is_known = flow.nodes[id] ~= nil or flow.spliced[id]
    if bytes and not is_known and flow.is_cancelled == 0 and node.state == SUCCESS
      and graph.waits_for_success(bytes, node.id) then
      graph.splice(flow, id, graph.readied(bytes))
      flow.counts[WAITING], flow.counts[READY] = flow.counts[WAITING] - 1, flow.counts[READY] + 1
      set.ready[#set.ready + 1] = { flow, id, node.ended_at }
    elseif bytes or flow.nodes[id] then
      graph.keep(flow, id, bytes)
      left[#left + 1] = { flow.nodes[id], node }
    end
  end
  return left
end

-- All that follows from the end of these nodes, in waves, each of which reads at once what it needs.
local function settle(set, flow, wave, now)
  while #wave > 0 do
    local ended, alarmed = {}, {}
    joined(flow, wave)
    for _, node in ipairs(wave) do
      local join = node.join ~= "" and graph.node(flow, node.join)
      if join and member_ended(flow, join, node, ended) then
        alarmed[#alarmed + 1] = join
      end
    end
    for _, each in ipairs(make_ready_simply(set, flow, wave)) do
      local kid, node = each[1], each[2]
      if kid.state == WAITING and kid.after == node.id then
        follow(set, flow, kid, node, ended)
      end
    end
    graph.load_kids(flow, alarmed)
    for _, join in ipairs(alarmed) do
      graph.each_kid(flow, join, function(kid)
        if kid.state == WAITING and kid.when == ON_DEATH then
          make_ready(set, flow, kid, has_ended(join) and join.ended_at or now, ended)
        end
      end)
    end
    wave = ended
  end
end

-- --- publishing again what may be lost ---

local function is_unsent(node)
  return node.kind == TASK and node.state == READY
end

-- What the ends of these made READY, and was not STARTED since.
local function again(set, flow, wave, at)
  local seen = {}
  for _, node in ipairs(wave) do
    seen[node.id] = true
  end
  while #wave > 0 do
    local following, joins = {}, {}
    for n, id in ipairs(joined(flow, wave)) do
      joins[n] = graph.node(flow, id)
    end
    graph.load_kids(flow, wave)
    graph.load_kids(flow, joins)
    for _, node in ipairs(wave) do
      graph.each_kid(flow, node, function(kid)
        if is_unsent(kid) then
          publish(set, flow, kid, at)
        elseif has_ended(kid) and kid.started_at == 0 and not seen[kid.id] then
          seen[kid.id] = true
          following[#following + 1] = kid
        end
      end)
      local join = node.join ~= "" and not seen[node.join] and graph.node(flow, node.join)
      if join and has_ended(join) then
        seen[join.id] = true
        following[#following + 1] = join
      elseif join and has_failed(node) then
        graph.each_kid(flow, join, function(kid)
          if kid.when == ON_DEATH and is_unsent(kid) then
            publish(set, flow, kid, at)
          end
        end)
      end
    end
    wave = following
  end
end

-- What is to run before nodes that wait: they were replaced, and what replaced them may be lost.
local function upstream(set, flow, wave, at)
  local seen = {}
  while #wave > 0 do
    local ids, following = {}, {}
    for _, node in ipairs(wave) do
      ids[#ids + 1] = node.after ~= "" and node.after or nil
      for _, id in ipairs(graph.members(flow, node)) do
        ids[#ids + 1] = id
      end
    end
    graph.load(flow, ids)
    for _, id in ipairs(ids) do
      local node = graph.node(flow, id)
      if node and not seen[id] and not has_ended(node) then
        seen[id] = true
        if is_unsent(node) then
          publish(set, flow, node, at)
        elseif node.state ~= STARTED then
          following[#following + 1] = node
        end
      end
    end
    wave = following
  end
end

-- --- taking an end back ---

local function reopen(set, flow, node, state)
  stand(flow, node, state)
  node.started_at, node.ended_at, node.cause, node.blame = 0, 0, "", nil
  node.copy = graph.of_generation(graph.generation(node.copy))
  graph.set_rest(flow, "v" .. node.id, false)
  if node.kind == TASK then
    node.left = 0
    set.results[#set.results + 1] = { "d", node.id }
  end
end

-- Tell a join that a failed member of it goes on; whether it does so too.
local function member_revived(set, flow, join)
  join.left, join.failed = join.left + 1, join.failed - 1
  graph.touch(flow, join)
  if join.failed > 0 then
    return false
  elseif has_failed(join) and join.cause ~= "" then
    reopen(set, flow, join, READY)
    return true
  end
  join.cause = ""
  graph.set_rest(flow, "v" .. join.id, false)
  return false
end

-- Whether one that comes after these is given what they gave, and has not ended.
local function is_given(flow, nodes)
  local found = false
  graph.load_kids(flow, nodes)
  for _, node in ipairs(nodes) do
    graph.each_kid(flow, node, function(kid)
      found = found or kid.gives >= 2 and (kid.state == READY or kid.state == STARTED)
    end)
  end
  return found
end

-- Whether one that has not ended is given these, or the values of a join that they are among.
local function is_taken_up(set, flow, nodes)
  while #nodes > 0 do
    if is_given(flow, nodes) then
      return true
    end
    local joins = {}
    for _, id in ipairs(joined(flow, nodes)) do
      local join = graph.node(flow, id)
      if join and join.state == SUCCESS then
        joins[#joins + 1] = join
      end
    end
    nodes = joins
  end
  return false
end

-- False: it is refused.
local function revive(set, flow, first, is_sent, now)
  if flow.is_cancelled == 1 then
    return false
  elseif is_unsent(first) and not is_sent then
    publish(set, flow, first, now)
  end
  if not has_failed(first) or first.cause ~= "" or first.kind ~= TASK then
    return true
  end
  reopen(set, flow, first, READY)
  if not is_sent then
    publish(set, flow, first, now)
  end
  local wave = { first }
  while #wave > 0 do
    if is_taken_up(set, flow, wave) then
      return false
    end
    local reopened = {}
    joined(flow, wave)
    for _, node in ipairs(wave) do
      local join = node.join ~= "" and graph.node(flow, node.join)
      if join and member_revived(set, flow, join) then
        reopened[#reopened + 1] = join
      end
      graph.each_kid(flow, node, function(kid)
        if has_failed(kid) and kid.cause ~= "" and (kid.failed == 0 or kid.kind == TASK) then
          reopen(set, flow, kid, WAITING)
          reopened[#reopened + 1] = kid
        end
      end)
    end
    wave = reopened
  end
  return true
end
