-- Give back all that a holder has in these queues, uncounted, and forget it there; joined to base.lua.
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
end
return given_back
