-- Which deliveries are still held; joined to base.lua. Asked when the reply to settling them was lost.
--
-- ARGV[4] the holder; for each of KEYS: how many, and their fences
-- Returns for each of KEYS 0 if the holder has no lease there, else a list of 1 (held) and 0 (not).

local at, answer = 5, {}
for index, base in ipairs(KEYS) do
  local count, found = tonumber(ARGV[at]), 0
  if is_live(base, ARGV[4]) then
    found = {}
    for n = 1, count do
      found[n] = redis.call('HEXISTS', base .. ':held:' .. ARGV[4], ARGV[at + n])
    end
  end
  answer[index] = found
  at = at + 1 + count
end
return answer
