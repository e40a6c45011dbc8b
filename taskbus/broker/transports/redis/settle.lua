-- Settle deliveries, publish what follows and record what the store keeps, all or nothing. Before it stand `record`
-- (the store's, or one that does nothing), base.lua, push.lua and sealed.lua.
--
-- ARGV[4] the holder ("": nothing was claimed), [5] "1" if there is something to record, [6] that
-- ARGV[7] from how many queues, the first of KEYS, deliveries are settled; for each of them: how many acks, how many to
-- give back; the fences of the acks; for each to give back, the largest fence first: fence, 1 if it crashed, the
-- delay. Then what `push` reads.
-- Returns {0} when done; {1, queue, fence, ...} of the deliveries that are not the holder's (any more), or {2} when the
-- store refused: nothing was done then.

local holder = ARGV[4]
local stale = { 1 }
local to_ack, to_return = {}, {}

-- The elements that the holder has under these fences; false for what it has not.
local function held(index, fences)
  local found = {}
  for start = 1, #fences, CHUNK do
    local key = KEYS[index] .. ':held:' .. holder
    for _, element in ipairs(redis.call('HMGET', key, unpack(fences, start, math.min(start + CHUNK - 1, #fences)))) do
      found[#found + 1] = element
    end
  end
  return found
end

local at = 8
for index = 1, tonumber(ARGV[7]) do
  local acks, returns = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  at = at + 2
  local fences, give_backs = {}, {}
  for n = 1, acks do
    fences[n] = ARGV[at + n - 1]
  end
  at = at + acks
  for n = 1, returns do
    fences[acks + n] = ARGV[at]
    give_backs[n] = { ARGV[at + 1] == '1', tonumber(ARGV[at + 2]), ARGV[at] }
    at = at + 3
  end
  local is_leased = is_live(KEYS[index], holder)
  local elements = is_leased and held(index, fences) or {}
  for n, fence in ipairs(fences) do
    if not elements[n] then
      stale[#stale + 1] = index
      stale[#stale + 1] = fence
    end
  end
  for n = 1, returns do
    give_backs[n][4] = elements[acks + n]
  end
  to_ack[index], to_return[index] = fences, give_backs
end
if #stale > 1 then
  return stale
end

start_writing()
local ready
if ARGV[5] == '1' then
  local is_recorded
  is_recorded, ready = record(ARGV[6])
  if is_recorded ~= 1 then
    return { 2 }
  end
end
for index, fences in ipairs(to_ack) do
  with_all('HDEL', KEYS[index] .. ':held:' .. holder, fences, 1, #fences)
  for _, each in ipairs(to_return[index]) do
    local has_crashed, delay, fence, element = each[1], each[2], each[3], each[4]
    if has_crashed then
      element = counted(element, 2)
    end
    give_back(KEYS[index], element, fence, delay > 0 and now + delay or nil)
  end
  if #to_return[index] > 0 then
    ring(KEYS[index])
  end
end
push(at)
if ready and #ready > 0 then
  push_sealed(ready)
end
return { 0 }
