-- A part of a chord has come in. The same keys, counted in the same way, as by Celery 5.7's workers, which may take turns.
-- KEYS: .j values, .t parts added later, .s size, .d members counted, the group's result, .c who goes on with it.
-- ARGV: task id, value, 1 for a sorted set of values (else a list), score, seconds to keep the chord, and the group's
-- result, seconds a claim lasts, the claimer's token. Returns {parts there, parts added later, size, 1 if claimed};
-- the first is -1 when the chord was done with before. A member is counted once, however often its task runs.
local values, added, size, members, group, claim = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
if redis.call('GET', claim) == 'done' then return {-1, 0, 0, 0} end

local is_ordered = ARGV[3] == '1'
if redis.call('SADD', members, ARGV[1] .. ':' .. ARGV[4]) == 1 then
  if is_ordered then redis.call('ZADD', values, ARGV[4], ARGV[2]) else redis.call('RPUSH', values, ARGV[2]) end
end
local there = redis.call(is_ordered and 'ZCARD' or 'LLEN', values)

local keep, keep_group = tonumber(ARGV[5]), tonumber(ARGV[6])
if keep > 0 then
  for _, key in ipairs({values, added, size, members}) do redis.call('EXPIRE', key, keep) end
  if keep_group > 0 then redis.call('EXPIRE', group, keep_group) end
end

local wanted, more, claimed = redis.call('GET', size), redis.call('GET', added), 0
if wanted and there == tonumber(wanted) + tonumber(more or 0)
    and redis.call('SET', claim, ARGV[8], 'NX', 'EX', ARGV[7]) then
  claimed = 1
end
return {there, more, wanted, claimed}
