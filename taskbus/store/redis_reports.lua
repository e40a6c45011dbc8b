-- What is done to reports, orders and pauses, each in one atomic step. KEYS[1] is BASE, "prefix:reports:{all}:", with
-- which all keys begin, and so are in one slot of a Cluster; ARGV[1] says what is to be done.
--   names         zset: names of nodes by the instant of the last report; those that are gone are kept with their minutes
--   listed        zset: the same, of those that have not said goodbye; who is silent stays a while
--   heads         hash: name -> the number of its last report
--   state:NAME    hash: number, at, state: of a node that has not said goodbye, and is not silent
--   changed:NAME  zset: minutes by the number of the report that last said something of them
--   minutes       zset: minutes, by themselves
--   minute:MINUTE hash: name -> totals
--   records:NAME  zset: NUMBER NUL records, by number
--   posted        zset: NUMBER NUL SIZE NUL NAME by instant, of all records
--   bytes         how many bytes all records have, or more
--   orders        zset: numbers of orders, by themselves
--   order         hash: number -> {name or "", order, until}
--   over          zset: numbers of orders by their end
--   meta          hash: last, the last order's number; until, the furthest end of an order
--   answers:NUMBER hash: name -> answer
--   paused        set of queues. The only key without an end.
--   watched       the instant until which somebody looks
local base, what = KEYS[1], ARGV[1]
local HOUR, SLACK = 3600, 60

local function text(number)
  return string.format("%.0f", number)
end

-- One bundle is forgotten. What it leaves behind, where its key has expired already, is its size, which is taken off.
local function drop(member)
  local number, size, name = string.match(member, "^(%d+)%z(%d+)%z(.*)$")
  local key = base .. "records:" .. name
  for _, each in ipairs(redis.call("ZRANGEBYSCORE", key, number, number)) do
    redis.call("ZREM", key, each)
  end
  redis.call("ZREM", base .. "posted", member)
  local bytes = redis.call("GET", base .. "bytes")
  if bytes then
    redis.call("SET", base .. "bytes", text(math.max(0, bytes - size)), "KEEPTTL")
  end
end

local function keep_records(name, number, at, records, keep, most, most_bytes)
  local size, bytes = #records, tonumber(redis.call("GET", base .. "bytes") or 0)
  redis.call("ZADD", base .. "records:" .. name, number, text(number) .. "\0" .. records)
  redis.call("ZADD", base .. "posted", at, text(number) .. "\0" .. size .. "\0" .. name)
  redis.call("SET", base .. "bytes", text(bytes + size))
  -- As many as there may be for one that comes; what is larger than several takes its place from several.
  for _, member in ipairs(redis.call("ZRANGE", base .. "posted", 0, 99)) do
    if redis.call("ZCARD", base .. "posted") <= most and tonumber(redis.call("GET", base .. "bytes")) <= most_bytes then
      break
    end
    drop(member)
  end
  for _, key in ipairs({ "records:" .. name, "posted", "bytes" }) do
    redis.call("EXPIRE", base .. key, keep)
  end
end

local function keep_minutes(name, number, minutes, keep)
  local changed = base .. "changed:" .. name
  for n = 1, #minutes, 2 do
    redis.call("HSET", base .. "minute:" .. minutes[n], name, minutes[n + 1])
    redis.call("EXPIRE", base .. "minute:" .. minutes[n], keep)
    redis.call("ZADD", base .. "minutes", minutes[n], minutes[n])
    redis.call("ZADD", changed, number, minutes[n])
  end
  redis.call("ZREMRANGEBYRANK", changed, 0, -(keep / 60 + SLACK + #minutes / 2 + 1))
  redis.call("EXPIRE", changed, keep)
  redis.call("EXPIRE", base .. "minutes", keep)
end

local function forget_state(name)
  redis.call("DEL", base .. "state:" .. name)
  redis.call("ZREM", base .. "listed", name)
end

-- `report`: {name, number, at as text, state, whether it is the last, {minute, totals, ...}, records, {order, name,
-- answer, ...}}; `keep`: seconds for {nodes, minutes, records, answers}, and how many records, and bytes of them.
local function take(report, keep)
  local name, number, at = report[1], report[2], report[3]
  for n = 1, #report[8], 3 do
    local key = base .. "answers:" .. report[8][n]
    redis.call("HSETNX", key, report[8][n + 1], report[8][n + 2])
    redis.call("EXPIRE", key, keep[4])
  end
  if number <= tonumber(redis.call("HGET", base .. "heads", name) or 0) then
    return
  end
  redis.call("HSET", base .. "heads", name, text(number))
  redis.call("ZADD", base .. "names", at, name)
  redis.call("EXPIRE", base .. "heads", keep[2])
  redis.call("EXPIRE", base .. "names", keep[2])
  if report[5] == 1 then
    forget_state(name)
  else
    redis.call("HSET", base .. "state:" .. name, "number", text(number), "at", at, "state", report[4])
    redis.call("EXPIRE", base .. "state:" .. name, keep[1])
    redis.call("ZADD", base .. "listed", at, name)
    redis.call("EXPIRE", base .. "listed", keep[2])
  end
  if #report[6] > 0 then
    keep_minutes(name, number, report[6], keep[2])
  end
  if report[7] ~= "" then
    keep_records(name, number, at, report[7], keep[3], keep[5], keep[6])
  end
end

-- `now`: "" for the server's own time.
local function inbox(name, after, now, limit)
  local orders = {}
  if now == "" then
    local time = redis.call("TIME")
    now = time[1] + time[2] / 1000000
  end
  now = tonumber(now)
  for _, number in ipairs(redis.call("ZRANGEBYSCORE", base .. "orders", "(" .. after, "+inf")) do
    local packed = redis.call("HGET", base .. "order", number)
    local order = packed and cmsgpack.unpack(packed)
    if order and (order[1] == "" or order[1] == name) and tonumber(order[3]) > now then
      orders[#orders + 1] = number
      orders[#orders + 1] = packed
      if #orders == 2 * limit then
        break
      end
    end
  end
  return { orders, redis.call("SMEMBERS", base .. "paused"), redis.call("GET", base .. "watched") or "0" }
end

-- Calls `each(name, number seen)` for every node that has reported since, until it says that this is enough.
local function since(seen, each)
  local heads = redis.call("HGETALL", base .. "heads")
  for n = 1, #heads, 2 do
    local last = seen[heads[n]] or 0
    if tonumber(heads[n + 1]) > last and each(heads[n], text(last)) then
      return
    end
  end
end

local function minutes(seen, limit)
  local found = {}
  since(seen, function(name, last)
    local index = redis.call("ZRANGEBYSCORE", base .. "changed:" .. name, "(" .. last, "+inf", "WITHSCORES")
    for n = 1, #index, 2 do
      local totals = redis.call("HGET", base .. "minute:" .. index[n], name)
      if totals then
        for _, part in ipairs({ name, index[n], index[n + 1], totals }) do
          found[#found + 1] = part
        end
      end
      if #found == 4 * limit then
        return true
      end
    end
  end)
  return found
end

local function records(seen, limit)
  local found = {}
  since(seen, function(name, last)
    local key, left = base .. "records:" .. name, limit - #found / 2
    for _, member in ipairs(redis.call("ZRANGEBYSCORE", key, "(" .. last, "+inf", "LIMIT", 0, left)) do
      found[#found + 1] = name
      found[#found + 1] = member
    end
    return #found == 2 * limit
  end)
  return found
end

-- Its end and its answers' are kept in keys that live as long as the furthest of all orders.
local function order(least, name, body, ends_at, lasts, keep)
  local last, furthest = unpack(redis.call("HMGET", base .. "meta", "last", "until"))
  local number = text(math.max((tonumber(last) or 0) + 1, least))
  redis.call("HSET", base .. "order", number, cmsgpack.pack({ name, body, ends_at }))
  redis.call("ZADD", base .. "orders", number, number)
  redis.call("ZADD", base .. "over", ends_at, number)
  if not furthest or tonumber(furthest) < tonumber(ends_at) then
    furthest = ends_at
  end
  redis.call("HSET", base .. "meta", "last", number, "until", furthest)
  local seconds = text(math.max(keep, math.ceil(furthest - ends_at + lasts) + HOUR))
  for _, key in ipairs({ "order", "orders", "over", "meta" }) do
    redis.call("EXPIRE", base .. key, seconds)
  end
  return number
end

-- Each `forget_*` forgets at most `left` of what is over, and returns how many are left to forget of others.
local function forget_nodes(edge, left)
  local silent = redis.call("ZRANGEBYSCORE", base .. "listed", "-inf", "(" .. edge, "LIMIT", 0, left)
  for _, name in ipairs(silent) do
    forget_state(name)
  end
  return left - #silent
end

local function forget_minutes(edge, left)
  for _, minute in ipairs(redis.call("ZRANGEBYSCORE", base .. "minutes", "-inf", "(" .. edge, "LIMIT", 0, left)) do
    local key = base .. "minute:" .. minute
    local names = redis.call("HKEYS", key)
    for n = 1, math.min(left, #names) do
      redis.call("HDEL", key, names[n])
      redis.call("ZREM", base .. "changed:" .. names[n], minute)
    end
    left = left - #names
    if left < 0 then
      return 0
    end
    redis.call("ZREM", base .. "minutes", minute)
  end
  return left
end

local function forget_records(edge, left)
  local old = redis.call("ZRANGEBYSCORE", base .. "posted", "-inf", "(" .. edge, "LIMIT", 0, left)
  for _, member in ipairs(old) do
    drop(member)
  end
  return left - #old
end

local function forget_orders(now, left)
  local old = redis.call("ZRANGEBYSCORE", base .. "over", "-inf", now, "LIMIT", 0, left)
  for _, number in ipairs(old) do
    redis.call("HDEL", base .. "order", number)
    redis.call("ZREM", base .. "orders", number)
    redis.call("ZREM", base .. "over", number)
  end
  return left - #old
end

local function forget_heads(edge, left)
  local old = redis.call("ZRANGEBYSCORE", base .. "names", "-inf", "(" .. edge, "LIMIT", 0, left)
  for _, name in ipairs(old) do
    redis.call("HDEL", base .. "heads", name)
    redis.call("ZREM", base .. "names", name)
    redis.call("DEL", base .. "changed:" .. name)
  end
  return left - #old
end

if what == "post" then
  local report, keep, after, now, limit = unpack(cmsgpack.unpack(ARGV[2]))
  take(report, keep)
  return inbox(report[1], after, now, limit)
elseif what == "inbox" then
  return inbox(ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]))
elseif what == "nodes" then
  local found = {}
  for _, name in ipairs(redis.call("ZRANGE", base .. "listed", 0, -1)) do
    local number, at, state = unpack(redis.call("HMGET", base .. "state:" .. name, "number", "at", "state"))
    if number then
      found[#found + 1] = { name, number, at, state }
    end
  end
  return found
elseif what == "minutes" then
  return minutes(cmsgpack.unpack(ARGV[2]), tonumber(ARGV[3]))
elseif what == "records" then
  return records(cmsgpack.unpack(ARGV[2]), tonumber(ARGV[3]))
elseif what == "order" then
  return order(tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]))
elseif what == "watch" then
  local known = tonumber(redis.call("GET", base .. "watched") or 0)
  if known < tonumber(ARGV[2]) then
    redis.call("SET", base .. "watched", ARGV[2])
  end
  return redis.call("EXPIRE", base .. "watched", ARGV[3])
elseif what == "sweep" then
  local limit = tonumber(ARGV[2])
  local left = forget_nodes(ARGV[4], limit)
  left = left > 0 and forget_minutes(ARGV[5], left) or 0
  left = left > 0 and forget_records(ARGV[6], left) or 0
  left = left > 0 and forget_orders(ARGV[3], left) or 0
  left = left > 0 and forget_heads(ARGV[7], left) or 0
  return limit - left
end
return redis.error_reply("ERR no function " .. what)
