-- A page of dead letters in the order of listing, as one step: what stands in the index, and the heads beside it.
--
-- KEYS   the index's order, its heads
-- ARGV   the bounds of the order (as ZRANGE BYLEX has them), how many at most, and REV for the other way round
-- Returns {places with ids, heads}.
local way = ARGV[4] and { ARGV[4], "LIMIT" } or { "LIMIT" }
way[#way + 1], way[#way + 2] = 0, ARGV[3]
local members = redis.call("ZRANGE", KEYS[1], ARGV[1], ARGV[2], "BYLEX", unpack(way))
local ids = {}
for i = 1, #members do
  ids[i] = string.sub(members[i], 9)
end
if #ids == 0 then
  return { {}, {} }
end
return { members, redis.call("HMGET", KEYS[2], unpack(ids)) }
