-- The next elements of a queue, the delayed ones last; joined to base.lua. ARGV[4] is how many at most.

local answer, left = {}, tonumber(ARGV[4])
for rank = 0, 9 do
  if left > 0 then
    local elements = redis.call('LRANGE', KEYS[1] .. ':' .. rank, -left, -1)
    for n = #elements, 1, -1 do
      answer[#answer + 1] = elements[n]
    end
    left = left - #elements
  end
end
if left > 0 then
  for _, element in ipairs(redis.call('ZRANGE', KEYS[1] .. ':delayed', 0, left - 1)) do
    answer[#answer + 1] = element
  end
end
return answer
