-- Queue new messages; joined to base.lua. `push(at)` reads from ARGV[at] on:
--
--   the dedup window in seconds (0: none); how many groups; three values for each: the index of its queue in KEYS, its
--   rank (10: delayed messages, of any rank; 20 + step: for Celery's list of that step), how many messages
--   for each group: the ids of its messages, if there is a window ("": not remembered); their due times, if it is the
--   delayed one; their elements (for Celery's lists, what lies in them)
--
-- Out of memory is told by the first command that needs some, before anything is done.

local DELAYED, FOR_CELERY = 10, 20

-- Which of the messages are new: nil for all, or a list of truths. New ones are remembered.
local function unknown(base, window, first, count)
  local generation = math.floor(now / window)
  local current = base .. ':ids:' .. exact(window) .. ':' .. generation
  local previous = base .. ':ids:' .. exact(window) .. ':' .. (generation - 1)
  local has_previous = redis.call('EXISTS', previous) == 1
  local is_known, ids, seen = {}, {}, {}
  local is_any_known = false
  for start = first, first + count - 1, CHUNK do
    local stop = math.min(start + CHUNK - 1, first + count - 1)
    for _, key in ipairs(has_previous and { current, previous } or { current }) do
      for n, known in ipairs(redis.call('SMISMEMBER', key, unpack(ARGV, start, stop))) do
        if known == 1 and ARGV[start + n - 1] ~= '' then
          is_known[start + n - first] = true
          is_any_known = true
        end
      end
    end
  end
  for n = 1, count do
    local id = ARGV[first + n - 1]
    if id ~= '' and not is_known[n] then
      if seen[id] then
        is_known[n] = true
        is_any_known = true
      else
        seen[id] = true
        ids[#ids + 1] = id
      end
    end
  end
  if #ids > 0 then
    with_all('SADD', current, ids, 1, #ids)
    redis.call('EXPIRE', current, math.ceil(window * 2) + 1)
  end
  return is_any_known and is_known or nil
end

local function push_ready(base, rank, known, first, count)
  local key = rank < FOR_CELERY and base .. ':' .. rank or celerys(base, rank - FOR_CELERY)
  if not known then
    with_all('LPUSH', key, ARGV, first, first + count - 1)
    return true
  end
  local elements = {}
  for n = 1, count do
    if not known[n] then
      elements[#elements + 1] = ARGV[first + n - 1]
    end
  end
  with_all('LPUSH', key, elements, 1, #elements)
  return #elements > 0
end

-- Returns whether somebody should be woken: for what is ready after all, or to learn of an earlier due time.
local function push_delayed(base, known, first, count)
  local head = redis.call('ZRANGE', base .. ':delayed', 0, 0, 'WITHSCORES')[2]
  local earliest = head and tonumber(head) or math.huge
  local is_news, pairs_to_add = false, {}
  for n = 1, count do
    if not (known and known[n]) then
      local due, element = tonumber(ARGV[first + n - 1]), ARGV[first + count + n - 1]
      if due <= now then
        redis.call('LPUSH', base .. ':' .. string.byte(element, 1), element)
        is_news = true
      else
        pairs_to_add[#pairs_to_add + 1] = exact(due)
        pairs_to_add[#pairs_to_add + 1] = element
        is_news = is_news or due < earliest
      end
    end
  end
  with_all('ZADD', base .. ':delayed', pairs_to_add, 1, #pairs_to_add)
  return is_news
end

local function push(at)
  local window, groups = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local header, values = at + 2, at + 2 + 3 * groups
  local to_ring = {}
  for group = 1, groups do
    local base, rank, count = KEYS[tonumber(ARGV[header])], tonumber(ARGV[header + 1]), tonumber(ARGV[header + 2])
    local known = nil
    if window > 0 then
      known = unknown(base, window, values, count)
      values = values + count
    end
    local is_news
    if rank == DELAYED then
      is_news = push_delayed(base, known, values, count)
      values = values + 2 * count
    else
      is_news = push_ready(base, rank, known, values, count)
      values = values + count
    end
    if ARGV[3] ~= '' then
      redis.call('HSETNX', ARGV[3], string.match(base, '{(.*)}$'), '')
    end
    if is_news then
      to_ring[base] = true
    end
    header = header + 3
  end
  for index = 1, #KEYS do
    if to_ring[KEYS[index]] then
      ring(KEYS[index])
    end
  end
end
