-- What the holder was given without knowing it, since the reply to its claim was lost; joined to base.lua.
--
-- ARGV[4] the holder, [5] how many at most; then, for each of KEYS, the largest fence it has seen
-- Returns 0 when its lease is gone; else {index of the queue in KEYS, fence, {element}}, ..., the lowest fence first.

local answer, left = {}, tonumber(ARGV[5])
for index, base in ipairs(KEYS) do
  if not is_live(base, ARGV[4]) then
    return 0
  end
  local key, seen, fences = base .. ':held:' .. ARGV[4], tonumber(ARGV[5 + index]), {}
  for _, fence in ipairs(redis.call('HKEYS', key)) do
    if tonumber(fence) > seen then
      fences[#fences + 1] = fence
    end
  end
  largest_first(fences)
  for n = #fences, math.max(1, #fences - left + 1), -1 do
    answer[#answer + 1] = { index, fences[n], { redis.call('HGET', key, fences[n]) } }
    left = left - 1
  end
end
return answer
