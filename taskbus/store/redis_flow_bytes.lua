-- A node of a flow as the bytes that are kept: HEAD, which changes, then TAIL, which does not.
--
-- A fragment: it defines `decode`, `encode` and `graph`. redis_flow_records.py knows the same form, nobody else does.
-- Where nodes are many their bytes are changed in place: to take one apart and put it together again costs four times
-- as much.
local WAITING, READY, STARTED, SUCCESS, FAILURE, REVOKED, SKIPPED = 0, 1, 2, 3, 4, 5, 6
local HEAD = ">BddBBBBBi4I4I4i4Hc0Hc0Hc0Hc0"
local KIND, WHEN, GIVES, IS_OPEN, HAS_KIDS, LEFT, COPY = 18, 19, 20, 21, 22, 23, 39 -- the byte of HEAD where these are
local graph = {}

local function decode(id, bytes)
  local state, ended_at, started_at, kind, when, gives, is_open, has_kids, left, failed, members, place, copy, after,
    join, cause, rest = struct.unpack(HEAD, bytes)
  return {
    id = id, state = state, kind = kind, when = when, gives = gives, is_open = is_open, has_kids = has_kids,
    started_at = started_at, ended_at = ended_at, left = left, failed = failed, members = members, place = place,
    after = after, join = join, copy = copy, cause = cause, tail = string.sub(bytes, rest),
  }
end

local function encode(node)
  return struct.pack(HEAD, node.state, node.ended_at, node.started_at, node.kind, node.when, node.gives, node.is_open,
    node.has_kids, node.left, node.failed, node.members, node.place, #node.copy, node.copy, #node.after, node.after,
    #node.join, node.join, #node.cause, node.cause) .. node.tail
end

-- What a task's bytes become when it ends as `head` (its state and when it ended) says.
function graph.ended(bytes, head)
  return head .. string.sub(bytes, 10)
end

-- Whether this is a task that is to run when that node succeeds, and what becomes of its bytes then.
function graph.waits_for_success(bytes, node)
  if string.byte(bytes) ~= WAITING or string.byte(bytes, KIND) ~= 0 or string.byte(bytes, WHEN) ~= 0
    or string.byte(bytes, IS_OPEN) ~= 0 then
    return false
  end
  return graph.edges_of(bytes) == node
end

function graph.readied(bytes)
  return string.char(READY) .. string.sub(bytes, 2)
end

-- What the bytes of a task that is READY become when it is started; `copy` with its length before it.
function graph.started(bytes, at, copy)
  local _, rest = struct.unpack(">Hc0", bytes, COPY)
  return struct.pack(">Bdd", STARTED, 0, at) .. string.sub(bytes, KIND, COPY - 1) .. copy .. string.sub(bytes, rest)
end

function graph.copy_of(bytes)
  return (struct.unpack(">Hc0", bytes, COPY))
end

-- How many tasks stood in the place of the one that is meant by this copy before it, and how its copies begin.
function graph.generation(copy)
  return tonumber(string.match(copy, "^(%d+)/")) or 0
end

function graph.of_generation(number)
  return number > 0 and number .. "/" or ""
end

-- after, join
function graph.edges_of(bytes)
  local _, after, join = struct.unpack(">Hc0Hc0Hc0", bytes, COPY)
  return after, join
end

-- Of a join that failed; "" for any other.
function graph.cause_of(bytes)
  local state = string.byte(bytes)
  if state ~= FAILURE and state ~= REVOKED then
    return ""
  end
  local _, _, _, cause = struct.unpack(">Hc0Hc0Hc0Hc0", bytes, COPY)
  return cause
end

-- Whether a task is between two attempts, and what its bytes become with the next one.
function graph.rests(bytes)
  return string.byte(bytes, LEFT + 3) > 0
end

function graph.resumed(bytes)
  return string.sub(bytes, 1, LEFT - 1) .. "\0\0\0\0" .. string.sub(bytes, LEFT + 4)
end

-- task, queue, priority, result_ttl, due_at, delay
function graph.tail(node)
  return unpack(cmsgpack.unpack(node.tail))
end

-- The same, of a node that may not be at hand; its state stands first.
function graph.state_and_tail(flow, id)
  local node = flow.nodes[id]
  if node then
    return node.state, graph.tail(node)
  end
  local bytes = flow.spliced[id]
  local _, _, _, _, rest = struct.unpack(">Hc0Hc0Hc0Hc0", bytes, COPY)
  return string.byte(bytes), unpack(cmsgpack.unpack(string.sub(bytes, rest)))
end
