-- Record advances inside of the broker's step: what `RedisTransaction` asks for. `redis_schedules.lua` stands in front.
local function record(payload)
  return 1, schedules.record(payload)
end
