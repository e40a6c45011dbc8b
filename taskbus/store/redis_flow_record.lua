-- Record changes, some of them of flows, inside of the broker's step: what `RedisTransaction` asks for.
-- `redis_flow_sets.lua`, and all it is behind, stands in front.
local function record(payload)
  local parcels = flows.apply(flows.open(payload))
  return parcels and 1 or 0, parcels
end
