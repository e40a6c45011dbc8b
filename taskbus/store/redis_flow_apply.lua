-- Record changes, some of them of flows, in one step. `redis_flow_sets.lua`, and all it is behind, stands in front.
--
-- KEYS   one that does not exist, on a Cluster in the slot of the flow
-- ARGV   how much: "all" where all keys are in one place. On a Cluster, where the set is of one flow, "check": only
--        whether it would be refused; "flow": that flow alone
--        the payload
-- Returns {0} where it is refused; else 1, how many messages are to be published, four values for each: queue,
-- priority, wire, due instant or "0". For "flow" then whether somebody may wait for this, and the changes of results
-- that are to be made: id, milliseconds and bytes, or id, 0, "": it is to be deleted.
local part = ARGV[1]
local set = flows.open(ARGV[2])
if part ~= "check" then
  redis.call("DEL", KEYS[1]) -- a write that needs no memory: after it none is refused for want of memory
end
local parcels
if part == "all" then
  parcels = flows.apply(set)
elseif flows.run(set) then
  parcels = part == "flow" and flows.to_publish(set) or {}
end
if not parcels then
  return { 0 }
end
local answer = { 1, #parcels }
for _, parcel in ipairs(parcels) do
  answer[#answer + 1] = parcel[1]
  answer[#answer + 1] = parcel[2]
  answer[#answer + 1] = parcel[3]
  answer[#answer + 1] = string.format("%.17g", parcel[4])
end
if part == "flow" then
  graph.write(set, false)
  answer[#answer + 1] = set.rings and 1 or 0
  for _, change in ipairs(flows.results(set)) do
    answer[#answer + 1] = change[2]
    answer[#answer + 1] = change[3] or 0
    answer[#answer + 1] = change[4] or ""
  end
end
return answer
