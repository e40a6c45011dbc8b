-- What is done to schedules and their ticks, each function in one atomic step.
--
-- A fragment: it only defines `schedules`, and stands in front of the script that calls one of them. All keys begin with
-- BASE, "prefix:schedules:{all}:", and so are in one slot of a Cluster:
--   version     hash: name -> version, that of removed ones too
--   row         hash: name -> what Python made of the rest
--   removed     hash: name -> the instant it was removed
--   names       zset: names, of score 0, in the order of listing
--   changes     zset: names by revision
--   meta        hash: revision; leader, until: the lease
--   ticks:NAME  zset: keys of ticks by nominal time
--   tick:NAME   hash: key -> what Python made of the rest
--   over        zset: NAME NUL KEY by when the tick may be forgotten
--   pending     zset: NAME NUL KEY by when the tick was sent, of those that may not have been published
--   wires       hash: NAME NUL KEY -> {queue, priority, wire}, of the same
--   changed     the channel of a bell that is rung by `save` and `resign`
-- The key of a tick is "0" or, if it is manual, "1", and its nominal time as text.
local schedules = {}

local function alive(base, name)
  return redis.call("HEXISTS", base .. "removed", name) == 0 and redis.call("HGET", base .. "version", name)
end

local function next_version(base, name)
  local version = tonumber(redis.call("HGET", base .. "version", name)) or 0
  redis.call("HSET", base .. "version", name, string.format("%d", version + 1))
end

function schedules.save(base, name, seen, row, removed_at)
  local stored = alive(base, name)
  if (stored or "0") ~= seen then
    return 0
  end
  local revision = (tonumber(redis.call("HGET", base .. "meta", "revision")) or 0) + 1
  redis.call("HSET", base .. "meta", "revision", string.format("%d", revision))
  next_version(base, name)
  redis.call("HSET", base .. "row", name, row)
  redis.call("ZADD", base .. "changes", revision, name)
  if removed_at == "" then
    redis.call("HDEL", base .. "removed", name)
    redis.call("ZADD", base .. "names", 0, name)
  else
    redis.call("HSET", base .. "removed", name, removed_at)
    redis.call("ZREM", base .. "names", name)
  end
  redis.call("PUBLISH", base .. "changed", "")
  return 1
end

-- Whether the tick was not recorded before.
local function note(base, name, tick)
  local key, nominal, keep_until, sent_at, rest, is_pending = tick[1], tick[2], tick[3], tick[4], tick[5], tick[6]
  if redis.call("HSETNX", base .. "tick:" .. name, key, rest) == 0 then
    return false
  end
  local member = name .. "\0" .. key
  redis.call("ZADD", base .. "ticks:" .. name, nominal, key)
  redis.call("ZADD", base .. "over", keep_until, member)
  if is_pending == 1 then
    redis.call("ZADD", base .. "pending", sent_at, member)
    redis.call("HSET", base .. "wires", member, cmsgpack.pack({ tick[7], tick[8], tick[9] }))
  end
  return true
end

-- `payload`: {base, advances}; an advance is {name, the version seen or "" for any, row, ticks}; a tick is {key, nominal,
-- keep until, sent at, rest, 1 if it is pending, queue, priority, wire}. Returns what is to be published.
function schedules.record(payload)
  local base, advances = unpack(cmsgpack.unpack(payload))
  local parcels = {}
  for _, advance in ipairs(advances) do
    local name, seen = advance[1], advance[2]
    local stored = alive(base, name)
    if stored and (seen == "" or seen == stored) then
      if seen ~= "" then
        next_version(base, name)
        redis.call("HSET", base .. "row", name, advance[3])
      end
      for _, tick in ipairs(advance[4]) do
        if note(base, name, tick) and tick[6] == 0 then
          parcels[#parcels + 1] = { tick[7], tick[8], tick[9], 0 }
        end
      end
    end
  end
  return parcels
end

function schedules.confirm(base, members)
  for _, member in ipairs(members) do
    redis.call("ZREM", base .. "pending", member)
    redis.call("HDEL", base .. "wires", member)
  end
end

-- Returns whether `beat` has the lease now, and for how long whoever has it still will, as text.
function schedules.lead(base, beat, term, now)
  local leader, until_at = unpack(redis.call("HMGET", base .. "meta", "leader", "until"))
  local lasts = (tonumber(until_at) or 0) - now
  if leader and leader ~= "" and leader ~= beat and lasts > 0 and lasts <= 2 * term then
    return { 0, string.format("%.17g", lasts) }
  end
  redis.call("HSET", base .. "meta", "leader", beat, "until", string.format("%.17g", now + term))
  return { 1, string.format("%.17g", term) }
end

function schedules.leader(base, now)
  local leader, until_at = unpack(redis.call("HMGET", base .. "meta", "leader", "until"))
  return leader and tonumber(until_at) > now and leader or ""
end

function schedules.resign(base, beat)
  if redis.call("HGET", base .. "meta", "leader") == beat then
    redis.call("HSET", base .. "meta", "leader", "")
    redis.call("PUBLISH", base .. "changed", "")
  end
end

-- Forget at most `limit` ticks that are over; how many.
function schedules.sweep(base, now, removed_until, limit)
  local count = 0
  for _, member in ipairs(redis.call("ZRANGEBYSCORE", base .. "over", "-inf", now, "LIMIT", 0, limit)) do
    if not redis.call("ZSCORE", base .. "pending", member) then
      local name, key = string.match(member, "^(.*)%z(.*)$")
      redis.call("HDEL", base .. "tick:" .. name, key)
      redis.call("ZREM", base .. "ticks:" .. name, key)
      redis.call("ZREM", base .. "over", member)
      count = count + 1
    end
  end
  local removed = redis.call("HGETALL", base .. "removed")
  for n = 1, #removed, 2 do
    if tonumber(removed[n + 1]) <= removed_until then
      for _, key in ipairs({ "version", "row", "removed" }) do
        redis.call("HDEL", base .. key, removed[n])
      end
      redis.call("ZREM", base .. "changes", removed[n])
      count = count + 1
    end
  end
  return count
end

-- Of each name: name, version, row, revision, whether it is removed.
function schedules.rows(base, names)
  local found = {}
  for _, name in ipairs(names) do
    local version = redis.call("HGET", base .. "version", name)
    if version then
      found[#found + 1] = name
      found[#found + 1] = version
      found[#found + 1] = redis.call("HGET", base .. "row", name)
      found[#found + 1] = redis.call("ZSCORE", base .. "changes", name)
      found[#found + 1] = redis.call("HEXISTS", base .. "removed", name)
    end
  end
  return found
end

function schedules.now(given)
  if given ~= "" then
    return tonumber(given)
  end
  local time = redis.call("TIME")
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end
