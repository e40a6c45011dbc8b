-- The next elements of a queue, the delayed ones last; joined to base.lua. ARGV[4] is how many at most,
-- [5] "1" where Celery shares the queue.

local answer, left = {}, tonumber(ARGV[4])
for rank = 0, 9 do
  if left > 0 then
    local elements = redis.call('LRANGE', KEYS[1] .. ':' .. rank, -left, -1)
    for n = #elements, 1, -1 do
      answer[#answer + 1] = elements[n]
    end
    left = left - #elements
  end
  if left > 0 and ARGV[5] == '1' and rank % 3 == 0 then
    local wires = redis.call('LRANGE', celerys(KEYS[1], rank), -left, -1)
    for n = #wires, 1, -1 do
      answer[#answer + 1] = string.char(rank) .. string.rep('\0', 22) .. wires[n]
    end
    left = left - #wires
  end
end
if left > 0 then
  for _, element in ipairs(redis.call('ZRANGE', KEYS[1] .. ':delayed', 0, left - 1)) do
    answer[#answer + 1] = element
  end
end
return answer
