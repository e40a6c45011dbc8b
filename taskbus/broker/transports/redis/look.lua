-- How long queues are; joined to base.lua. ARGV[4] "1" in the place of each queue that Celery shares ("" if none).
--
-- Returns for each of KEYS {ready, delayed, held, consumers, when the oldest of the ready became ready or ""}.

local answer = {}
for index, base in ipairs(KEYS) do
  local ready, running, oldest = 0, 0, nil
  for rank = 0, 9 do
    local length = redis.call('LLEN', base .. ':' .. rank)
    if length > 0 then
      ready = ready + length
      local since = struct.unpack('>d', redis.call('LINDEX', base .. ':' .. rank, -1), 4)
      oldest = math.min(oldest or since, since)
    end
  end
  for step = 0, string.byte(ARGV[4], index) == 49 and 9 or -1, 3 do
    ready = ready + redis.call('LLEN', celerys(base, step))
  end
  local holders = redis.call('ZRANGE', base .. ':leases', 0, -1)
  for _, holder in ipairs(holders) do
    running = running + redis.call('HLEN', base .. ':held:' .. holder)
  end
  local delayed = redis.call('ZCARD', base .. ':delayed')
  answer[index] = { ready, delayed, running, #holders, oldest and exact(oldest) or '' }
end
return answer
