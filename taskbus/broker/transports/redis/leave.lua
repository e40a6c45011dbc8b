-- Give back all that a holder has in these queues, uncounted, and forget it there; joined to base.lua.
--
-- When the last one leaves, Celery's workers are the only ones who could know of what waits here for its time: they get it
-- now, and wait themselves.
--
-- ARGV[4] the holder. Returns how many messages.

local given_back = 0
for _, base in ipairs(KEYS) do
  local key = base .. ':held:' .. ARGV[4]
  redis.call('ZREM', base .. ':leases', ARGV[4])
  redis.call('SREM', base .. ':waiting', ARGV[4])
  local fences = largest_first(redis.call('HKEYS', key))
  for _, fence in ipairs(fences) do
    give_back(base, redis.call('HGET', key, fence), fence, nil)
  end
  redis.call('DEL', key)
  if #fences > 0 then
    ring_all(base)
  end
  given_back = given_back + #fences
  if redis.call('ZCARD', base .. ':leases') == 0 then
    for _, element in ipairs(redis.call('ZRANGE', base .. ':delayed', 0, 9999)) do
      if is_celerys(element) then
        redis.call('ZREM', base .. ':delayed', element)
        give_to_celery('LPUSH', base, element)
      end
    end
  end
end
return given_back
