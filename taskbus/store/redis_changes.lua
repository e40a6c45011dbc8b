-- What a set of changes does to results, failed attempts and dead letters.
--
-- A fragment: it only defines `store`, and stands in front of whatever script records changes in its own atomic step.
-- First open the payload, then ask whether it is refused, and only then write: nothing here fails half way.
--
-- The payload is packed by redis_changes.py: {prefix, now, asks, changes}. `now` is an instant to judge by where a clock
-- was passed in, else 0; `asks` says whether a change must find something; a change is {op, task id, ...}.
--
-- Keys, each after the prefix. Those of one task are in one slot of a Cluster, those of the index in another.
--   result:{ID}             string with a PX: F or o (final or open), the instant it is over (a double), the rest
--   attempts:{ID}           hash: number of the attempt -> the failed attempt
--   letter:{ID}             string: its place (8 bytes that sort like its instant), then what listing does not look at
--   letters:{index}:heads   hash: ID -> its place, then what listing looks at
--   letters:{index}:order   zset: place .. ID, all of score 0, in the order of listing
--   finished                the channel of a bell that is rung once a set in which a result was saved
--
-- Works from Redis 6.2 on: no shebang, no flags. Out of memory stops a script only before its first write; who calls
-- `write` frees something first, as a task that ends must always be recorded.
local store = {}

function store.open(payload)
  local prefix, now, asks, changes = unpack(cmsgpack.unpack(payload))
  return { prefix = prefix, now = now, asks = asks, changes = changes }
end

-- Whether a change would not find its letter, the changes before it considered. A letter is known by its place.
function store.refuses(set)
  if not set.asks then
    return false
  end
  local there = {}
  for _, change in ipairs(set.changes) do
    local op, id = change[1], change[2]
    if there[id] == nil and (op == "x" or op == "o" or op == "p") then
      there[id] = redis.call("GETRANGE", set.prefix .. "letter:{" .. id .. "}", 0, 7)
    end
    if op == "b" then
      there[id] = change[3]
    elseif op == "o" and there[id] ~= change[3] or op == "x" and there[id] == "" then
      return true
    elseif op == "x" or op == "p" and (not change[3] or there[id] == change[3]) then
      there[id] = ""
    end
  end
  return false
end

-- A final result stays, unless its time is over by the clock that was passed in: then it is as good as gone.
local function save_result(prefix, change, now)
  local key = prefix .. "result:{" .. change[2] .. "}"
  if redis.call("SET", key, change[4], "PX", change[3], "NX") then
    return
  end
  local head = redis.call("GETRANGE", key, 0, 8)
  if string.sub(head, 1, 1) ~= "F" or struct.unpack(">d", head, 2) <= now then
    redis.call("SET", key, change[4], "PX", change[3])
  end
end

-- What is packed behind the head is a list, of which the state is the second.
local function forget_failure(prefix, change)
  local key = prefix .. "result:{" .. change[2] .. "}"
  local result = redis.call("GET", key)
  if result then
    local _, _, state = cmsgpack.unpack_limit(result, 2, 10)
    if state == "FAILURE" or state == "REVOKED" then
      redis.call("DEL", key)
    end
  end
end

local in_tasks = {
  r = save_result,
  a = function(prefix, change)
    redis.call("HSET", prefix .. "attempts:{" .. change[2] .. "}", change[3], change[4])
  end,
  f = function(prefix, change)
    redis.call("DEL", prefix .. "attempts:{" .. change[2] .. "}")
  end,
  b = function(prefix, change)
    redis.call("SET", prefix .. "letter:{" .. change[2] .. "}", change[3] .. change[5])
  end,
  x = function(prefix, change)
    local tag = "{" .. change[2] .. "}"
    local place = redis.call("GETRANGE", prefix .. "letter:" .. tag, 0, 7)
    redis.call("DEL", prefix .. "letter:" .. tag, prefix .. "attempts:" .. tag, prefix .. "result:" .. tag)
    return place
  end,
  o = forget_failure,
  p = function(prefix, change)
    local tag = "{" .. change[2] .. "}"
    local place = redis.call("GETRANGE", prefix .. "letter:" .. tag, 0, 7)
    if place == "" or change[3] and change[3] ~= place then
      return ""
    end
    redis.call("DEL", prefix .. "letter:" .. tag, prefix .. "attempts:" .. tag)
    return place
  end,
}

-- Write what belongs to the tasks themselves: whether a letter exists is decided here. Each change that may take a
-- letter out has that letter's place added to it.
function store.write_tasks(set)
  for _, change in ipairs(set.changes) do
    local place = in_tasks[change[1]](set.prefix, change, set.now)
    if place then
      change[3] = place
    end
  end
end

-- Only the letter that was taken: on a Cluster another may have been buried under the same id meanwhile.
local function out_of_index(prefix, change)
  local heads, id = prefix .. "letters:{index}:heads", change[2]
  local known = redis.call("HGET", heads, id)
  if known and (change[1] == "b" or string.sub(known, 1, 8) == change[3]) then
    redis.call("ZREM", prefix .. "letters:{index}:order", string.sub(known, 1, 8) .. id)
    redis.call("HDEL", heads, id)
  end
end

local in_index = {
  b = function(prefix, change)
    out_of_index(prefix, change)
    redis.call("HSET", prefix .. "letters:{index}:heads", change[2], change[3] .. change[4])
    redis.call("ZADD", prefix .. "letters:{index}:order", 0, change[3] .. change[2])
  end,
  x = out_of_index,
  p = out_of_index,
}

-- Write what listing dead letters goes by.
function store.write_index(set)
  for _, change in ipairs(set.changes) do
    local write = in_index[change[1]]
    if write then
      write(set.prefix, change)
    end
  end
end

-- Wake whoever waits for results. A user who may not publish only makes them wait longer.
function store.ring(set)
  for _, change in ipairs(set.changes) do
    if change[1] == "r" then
      redis.pcall("PUBLISH", set.prefix .. "finished", "")
      return
    end
  end
end

-- Raise an error, before anything is written, where a key of the index holds something of another program's.
local function look_at_index(set)
  for _, change in ipairs(set.changes) do
    if in_index[change[1]] then
      redis.call("HLEN", set.prefix .. "letters:{index}:heads")
      redis.call("ZCARD", set.prefix .. "letters:{index}:order")
      return
    end
  end
end

-- All of it, where all keys are in one place. False: refused, and nothing was written.
function store.apply(set)
  if store.refuses(set) then
    return false
  end
  look_at_index(set)
  store.write_tasks(set)
  store.write_index(set)
  store.ring(set)
  return true
end
