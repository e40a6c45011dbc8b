-- Give back what holders with an expired lease have in these queues, one loss each, and forget them there; joined to
-- base.lua. Needs no lock: whoever calls it goes on where another stopped.
--
-- ARGV[4] how many messages at most. Returns {how many, 1 if there are more}.
--
-- A holder loses its lease at once, and is forgotten when nothing is left of it. The largest fences come first, so that
-- what was claimed first ends up first in its list.

local left, reaped = tonumber(ARGV[4]), 0
for _, base in ipairs(KEYS) do
  for _, holder in ipairs(redis.call('ZRANGEBYSCORE', base .. ':leases', '-inf', '(' .. exact(now))) do
    local key = base .. ':held:' .. holder
    redis.call('SREM', base .. ':waiting', holder)
    redis.call('ZADD', base .. ':leases', -1, holder)
    local fences = largest_first(redis.call('HKEYS', key))
    for n = 1, math.min(left, #fences) do
      give_back(base, counted(redis.call('HGET', key, fences[n]), 3), fences[n], nil)
      redis.call('HDEL', key, fences[n])
      reaped, left = reaped + 1, left - 1
    end
    if redis.call('EXISTS', key) == 1 then
      ring_all(base)
      return { reaped, 1 }
    end
    redis.call('ZREM', base .. ':leases', holder)
    if #fences > 0 then
      ring_all(base)
    end
  end
end
return { reaped, 0 }
