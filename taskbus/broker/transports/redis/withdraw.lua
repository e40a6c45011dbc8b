-- Delete a message that waits, ready or delayed; joined to base.lua.
--
-- ARGV[4] among how many elements of a list to look; [5] its rank; [6] its element from byte 20 on; [7] "1": Celery
-- shares the queue. Returns how many were deleted, 1 or 0.

local function find(elements)
  for _, element in ipairs(elements) do
    if string.sub(element, 20) == ARGV[6] then
      return element
    end
  end
end

local most, ready, delayed = tonumber(ARGV[4]), KEYS[1] .. ':' .. ARGV[5], KEYS[1] .. ':delayed'
local element = find(redis.call('LRANGE', ready, -most, -1))
if element then
  return redis.call('LREM', ready, -1, element)
end
element = find(redis.call('ZRANGE', delayed, 0, most - 1))
if element then
  return redis.call('ZREM', delayed, element)
end
if ARGV[7] == '1' and tonumber(ARGV[5]) % 3 == 0 then
  return redis.call('LREM', celerys(KEYS[1], tonumber(ARGV[5])), -1, string.sub(ARGV[6], 5))
end
return 0
