-- Give a holder a lease on queues, and note that it waits for their messages; joined to base.lua.
--
-- ARGV[4] the holder, [5] its lease in seconds, [6] what is to be known of it; where that is not "", KEYS[1] is the key
-- of the list of all holders, and no queue. Returns 1.

local first = 1
if ARGV[6] ~= '' then
  first = 2
  start_writing()
  redis.call('HSET', KEYS[1] .. ':workers', ARGV[4], ARGV[6])
  redis.call('ZADD', KEYS[1] .. ':leases', exact(now + tonumber(ARGV[5])), ARGV[4])
end
for index = first, #KEYS do
  local base = KEYS[index]
  redis.call('DEL', base .. ':nothing')
  redis.call('ZADD', base .. ':leases', exact(now + tonumber(ARGV[5])), ARGV[4])
  redis.call('SADD', base .. ':waiting', ARGV[4])
  if ARGV[3] ~= '' then
    redis.call('HSETNX', ARGV[3], string.match(base, '{(.*)}$'), '')
  end
end
return 1
