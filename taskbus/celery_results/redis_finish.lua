-- The body of a chord was sent: forget the chord, and leave a mark so that late copies of its parts do not make it anew.
-- KEYS: .c, .j, .t, .s, .d. ARGV: the claimer's token, seconds to keep the mark. Returns 1 if it was the claimer's.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
redis.call('SET', KEYS[1], 'done', 'EX', ARGV[2])
return 1
