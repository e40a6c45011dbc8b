-- Write a document, and tell who waits for it, unless a SUCCESS is there already.
-- KEYS: its key, which is also the channel. ARGV: the document, seconds until it expires. Returns 1 if it was written.
-- What cannot be read (compressed, nested too deep for cjson) counts as no success, unless it begins as one.
local there = redis.call('GET', KEYS[1])
if there then
  local is_read, fields = pcall(cjson.decode, there)
  if is_read and type(fields) == 'table' then
    if fields['status'] == 'SUCCESS' then return 0 end
  elseif string.find(there, '^{"status": ?"SUCCESS"') then
    return 0
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1
