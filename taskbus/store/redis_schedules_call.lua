-- Call one function of `schedules`, which stands in front. KEYS[1] is BASE, for a Cluster to know where; ARGV[1] which.
local base, what = KEYS[1], ARGV[1]
if what == "save" then
  return schedules.save(base, ARGV[2], ARGV[3], ARGV[4], ARGV[5])
elseif what == "now" then
  return string.format("%.17g", schedules.now(""))
elseif what == "record" then
  local answer = {}
  for _, parcel in ipairs(schedules.record(ARGV[2])) do
    for n = 1, 3 do
      answer[#answer + 1] = parcel[n]
    end
  end
  return answer
elseif what == "confirm" then
  return schedules.confirm(base, cmsgpack.unpack(ARGV[2]))
elseif what == "lead" then
  return schedules.lead(base, ARGV[2], tonumber(ARGV[3]), schedules.now(ARGV[4]))
elseif what == "leader" then
  return schedules.leader(base, schedules.now(ARGV[2]))
elseif what == "resign" then
  return schedules.resign(base, ARGV[2])
elseif what == "sweep" then
  return schedules.sweep(base, schedules.now(ARGV[2]), schedules.now(ARGV[2]) - tonumber(ARGV[3]), tonumber(ARGV[4]))
elseif what == "read" then
  return schedules.rows(base, cmsgpack.unpack(ARGV[2]))
elseif what == "page" then
  local low = ARGV[2] == "" and "-" or "(" .. ARGV[2]
  return schedules.rows(base, redis.call("ZRANGE", base .. "names", low, "+", "BYLEX", "LIMIT", 0, ARGV[3]))
elseif what == "changed" then
  return schedules.rows(base, redis.call("ZRANGEBYSCORE", base .. "changes", "(" .. ARGV[2], "+inf", "LIMIT", 0, ARGV[3]))
elseif what == "ticks" then
  local key = base .. "ticks:" .. ARGV[2]
  local keys = redis.call("ZRANGE", key, "(" .. ARGV[4], ARGV[3], "BYSCORE", "REV", "LIMIT", 0, ARGV[5])
  local answer = {}
  for _, each in ipairs(keys) do
    answer[#answer + 1] = each
    answer[#answer + 1] = redis.call("HGET", base .. "tick:" .. ARGV[2], each)
    answer[#answer + 1] = redis.call("ZSCORE", base .. "pending", ARGV[2] .. "\0" .. each) and 1 or 0
  end
  return answer
elseif what == "pending" then
  local answer = {}
  for _, member in ipairs(redis.call("ZRANGE", base .. "pending", 0, tonumber(ARGV[2]) - 1)) do
    local name, key = string.match(member, "^(.*)%z(.*)$")
    answer[#answer + 1] = name
    answer[#answer + 1] = key
    answer[#answer + 1] = redis.call("HGET", base .. "tick:" .. name, key)
    answer[#answer + 1] = redis.call("HGET", base .. "wires", member)
  end
  return answer
end
return redis.error_reply("ERR no function " .. what)
