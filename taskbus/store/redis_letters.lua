-- A page of dead letters in the order of listing, as one step: what stands in the index, and the heads beside it.
--
-- KEYS   the index's order, its heads
-- ARGV   the bounds of the order (as ZRANGE BYLEX has them), how many at most
-- Returns {places with ids, heads}.
local members = redis.call("ZRANGE", KEYS[1], ARGV[1], ARGV[2], "BYLEX", "LIMIT", 0, ARGV[3])
local ids = {}
for i = 1, #members do
  ids[i] = string.sub(members[i], 9)
end
if #ids == 0 then
  return { {}, {} }
end
return { members, redis.call("HMGET", KEYS[2], unpack(ids)) }
