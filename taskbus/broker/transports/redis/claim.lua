-- Take messages under a lease; joined to base.lua. KEYS are the queues, whose turns go in this order.
--
-- ARGV[4] the holder, [5] how many at most, [6] due messages to make ready at most, of each queue; [7] a "1" in the
-- place of each queue that Celery shares ("" if none): of the others Celery's lists are not looked at
-- Returns 0 when the holder's lease is gone, having taken nothing. Else {time, next due time or "", messages promoted,
-- {index of the queue in KEYS, first fence, {elements}}, ...}, each queue's by rank, then by age.
--
-- The holder is noted as waiting when it got less than it asked for. A claim that leaves messages behind, or fills up
-- its holder shortly before one is due, wakes another who waits.

local holder, limit, promotions = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local FROM_CELERY = struct.pack('>d', now) .. string.rep('\0', 12)
local SOON = 5 -- seconds: what is due later, a sleeping worker finds by itself

for _, base in ipairs(KEYS) do
  if not is_live(base, holder) then
    return 0
  end
end

local function promote(base)
  local key = base .. ':delayed'
  local due = redis.call('ZRANGEBYSCORE', key, '-inf', exact(now), 'LIMIT', 0, promotions)
  if #due == 0 then
    return 0
  end
  redis.call('ZREMRANGEBYRANK', key, 0, #due - 1)
  local by_rank = {}
  for _, element in ipairs(due) do
    if is_celerys(element) then
      give_to_celery('LPUSH', base, element)
    else
      local rank = string.byte(element, 1)
      by_rank[rank] = by_rank[rank] or {}
      table.insert(by_rank[rank], element)
    end
  end
  for rank, elements in pairs(by_rank) do
    with_all('LPUSH', base .. ':' .. rank, elements, 1, #elements)
  end
  return #due
end

local function has_urgent(base)
  return redis.call('EXISTS', base .. ':0', base .. ':1', base .. ':2', base .. ':3', base .. ':4', base .. ':5',
    base .. ':6', base .. ':7', base .. ':8') > 0
end

-- Append up to `count` messages of Celery's to `taken`, as elements, from its list of a step.
local function take_celerys(base, step, count, taken)
  local popped = redis.call('RPOP', celerys(base, step), count)
  if not popped or #popped == 0 then
    return
  end
  local has_counts = redis.call('EXISTS', base .. ':counts') == 1
  for _, wire in ipairs(popped) do
    local counts = nil
    if has_counts then
      local digest = redis.sha1hex(wire)
      counts = redis.call('HGET', base .. ':counts', digest)
      redis.call('HDEL', base .. ':counts', digest)
    end
    taken[#taken + 1] = string.char(step) .. (counts or '\0\0') .. FROM_CELERY .. wire
  end
end

-- Append up to `count` elements of a queue to `taken`, the lowest rank first; how many. Most queues have one rank, the
-- last, and one question is cheaper than nine.
local function take(base, count, taken, is_shared)
  local before = #taken
  for rank = (is_shared or has_urgent(base)) and 0 or 9, 9 do
    local wanted = count - (#taken - before)
    if wanted == 0 then
      break
    end
    local popped = redis.call('RPOP', base .. ':' .. rank, wanted)
    if popped then
      for _, element in ipairs(popped) do
        taken[#taken + 1] = element
      end
    end
    if is_shared and rank % 3 == 0 then
      take_celerys(base, rank, count - (#taken - before), taken)
    end
  end
  return #taken - before
end

-- Fences start from the time in milliseconds: so they grow also where a failover, or an operator, lost the last of them,
-- and nobody meets a fence of his own again with another message.
local function hold(base, taken)
  local last = tonumber(redis.call('GET', base .. ':fence') or 0)
  local first, fields = math.max(last + 1, math.floor(now * 1000)), {}
  for n, element in ipairs(taken) do
    fields[2 * n - 1] = string.format('%.0f', first + n - 1)
    fields[2 * n] = element
  end
  with_all('HSET', base .. ':held:' .. holder, fields, 1, #fields)
  redis.call('SET', base .. ':fence', string.format('%.0f', first + #taken - 1), 'EX', 86400)
  return string.format('%.0f', first)
end

local function has_ready(base, is_shared)
  return redis.call('EXISTS', base .. ':9') == 1 or has_urgent(base) or is_shared and redis.call('EXISTS',
    celerys(base, 0), celerys(base, 3), celerys(base, 6), celerys(base, 9)) > 0
end

local function is_shared(index)
  return string.byte(ARGV[7], index) == 49
end

local promoted, taken, left = 0, {}, limit
if limit > 0 then
  local hungry = {}
  for index, base in ipairs(KEYS) do
    promoted = promoted + promote(base)
    taken[index], hungry[index] = {}, index
  end
  while #hungry > 0 and left > 0 do
    local share, still_hungry = math.max(1, math.floor(left / #hungry)), {}
    for _, index in ipairs(hungry) do
      if left > 0 then
        local asked = math.min(share, left)
        local got = take(KEYS[index], asked, taken[index], is_shared(index))
        left = left - got
        if got == asked then
          still_hungry[#still_hungry + 1] = index
        end
      end
    end
    hungry = still_hungry
  end
end

local next_due = math.huge
local answer = { exact(now), '', promoted }
for index, base in ipairs(KEYS) do
  if limit > 0 and #taken[index] > 0 then
    answer[#answer + 1] = { index, hold(base, taken[index]), taken[index] }
  end
  local head = redis.call('ZRANGE', base .. ':delayed', 0, 0, 'WITHSCORES')[2]
  local due = head and tonumber(head) or math.huge
  next_due = math.min(next_due, due)
  if limit > 0 then
    if left > 0 then
      redis.call('SADD', base .. ':waiting', holder)
    else
      redis.call('SREM', base .. ':waiting', holder)
      if has_ready(base, is_shared(index)) then
        ring(base)
      elseif due < now + SOON and redis.call('SET', base .. ':told', '', 'NX', 'PX', 1000) then
        ring(base)
      end
    end
  end
end
if next_due < math.huge then
  answer[2] = exact(next_due)
end
return answer
