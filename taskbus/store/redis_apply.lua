-- Record changes, in one step. `redis_changes.lua` stands in front of this.
--
-- KEYS   one that does not exist, on a Cluster in the slot that all this touches
-- ARGV   how much: "all" where all keys are in one place. On a Cluster, "check": only whether it would be refused;
--        "tasks": that, and what belongs to the tasks; "index": what listing dead letters goes by
--        the payload
-- Returns whether it was done; for "tasks" also, of each change that may take a letter out, the place of that letter
-- ("" if there was none).
local part = ARGV[1]
local set = store.open(ARGV[2])
if part ~= "check" then
  redis.call("DEL", KEYS[1]) -- a write that needs no memory: after it none is refused for want of memory
end
if part == "all" then
  return { store.apply(set) and 1 or 0 }
end
if part == "index" then
  store.write_index(set)
  return { 1 }
end
if store.refuses(set) then
  return { 0 }
end
local answer = { 1 }
if part == "tasks" then
  store.write_tasks(set)
  for _, change in ipairs(set.changes) do
    if change[1] == "x" or change[1] == "p" then
      answer[#answer + 1] = change[3]
    end
  end
end
return answer
