-- A page of a flow's nodes in the order of their ids. Their order is made when somebody asks for it, and kept a minute.
--
-- KEYS   the flow, its nodes, their order
-- ARGV   the id to go on after, or "", how many at most
-- Returns for each node: id, HEAD and TAIL, its message or "", its failure or "".
local SUCCESS = 3

if redis.call("ZCARD", KEYS[3]) ~= redis.call("HLEN", KEYS[2]) then
  redis.call("DEL", KEYS[3])
  local ids, list = redis.call("HKEYS", KEYS[2]), {}
  for n, id in ipairs(ids) do
    list[#list + 1] = 0
    list[#list + 1] = id
    if #list == 1000 or n == #ids then
      redis.call("ZADD", KEYS[3], unpack(list))
      list = {}
    end
  end
end
redis.call("EXPIRE", KEYS[3], 60)
local low = ARGV[1] == "" and "-" or "(" .. ARGV[1]
local ids, fields = redis.call("ZRANGE", KEYS[3], low, "+", "BYLEX", "LIMIT", 0, ARGV[2]), {}
if #ids == 0 then
  return {}
end
local nodes = redis.call("HMGET", KEYS[2], unpack(ids))
for n, id in ipairs(ids) do
  local has_value = nodes[n] and string.byte(nodes[n], 1) == SUCCESS
  fields[2 * n - 1], fields[2 * n] = "w" .. id, has_value and "" or "v" .. id
end
local rest = redis.call("HMGET", KEYS[1], unpack(fields))
local answer = {}
for n, id in ipairs(ids) do
  if nodes[n] then
    for _, value in ipairs({ id, nodes[n], rest[2 * n - 1] or "", rest[2 * n] or "" }) do
      answer[#answer + 1] = value
    end
  end
end
return answer
