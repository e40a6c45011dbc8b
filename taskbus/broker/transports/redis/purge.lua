-- Delete what is ready or delayed in a queue; joined to base.lua.
--
-- ARGV[4] "1": only if nobody consumes from it; [5] "1": only if nothing is ready; [6] "1": Celery shares it
-- Returns how many messages, or -1 if it was left as it is.

local count, keys = redis.call('ZCARD', KEYS[1] .. ':delayed'), { KEYS[1] .. ':delayed' }
local ready = 0
for rank = 0, 9 do
  ready = ready + redis.call('LLEN', KEYS[1] .. ':' .. rank)
  keys[#keys + 1] = KEYS[1] .. ':' .. rank
end
for step = 0, ARGV[6] == '1' and 9 or -1, 3 do
  ready = ready + redis.call('LLEN', celerys(KEYS[1], step))
  keys[#keys + 1] = celerys(KEYS[1], step)
end
if ARGV[4] == '1' and redis.call('ZCARD', KEYS[1] .. ':leases') > 0 or ARGV[5] == '1' and ready > 0 then
  return -1
end
redis.call('UNLINK', unpack(keys))
return count + ready
