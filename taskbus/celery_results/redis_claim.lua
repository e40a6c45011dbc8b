-- Keep the claim on a complete chord, or take one that has run out while the chord is still there.
-- KEYS: .c, .s. ARGV: the claimer's token, seconds. Returns 1 if it is the claimer's now.
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then return redis.call('EXPIRE', KEYS[1], ARGV[2]) end
if not holder and redis.call('EXISTS', KEYS[2]) == 1
    and redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2], 'NX') then
  return 1
end
return 0
