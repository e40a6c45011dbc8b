-- Forget the holders whose lease is over in the list of all holders, after their queues did; joined to base.lua.
--
-- KEYS[1] the key of the list. Returns how many.

local expired = redis.call('ZRANGEBYSCORE', KEYS[1] .. ':leases', '-inf', '(' .. exact(now))
for _, holder in ipairs(expired) do
  redis.call('HDEL', KEYS[1] .. ':workers', holder)
  redis.call('ZREM', KEYS[1] .. ':leases', holder)
end
return #expired
