-- Record changes inside of the broker's step: what `RedisTransaction` asks for. `redis_changes.lua` stands in front.
local function record(payload)
  return store.apply(store.open(payload)) and 1 or 0
end
