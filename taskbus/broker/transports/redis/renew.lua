-- Let a lease on queues run from now; joined to base.lua.
--
-- ARGV[4] the holder, [5] its lease in seconds. Returns 1, or 0, having changed nothing, if it is gone from one of KEYS.

for _, base in ipairs(KEYS) do
  if not is_live(base, ARGV[4]) then
    return 0
  end
end
for _, base in ipairs(KEYS) do
  redis.call('DEL', base .. ':nothing')
  redis.call('ZADD', base .. ':leases', exact(now + tonumber(ARGV[5])), ARGV[4])
end
return 1
