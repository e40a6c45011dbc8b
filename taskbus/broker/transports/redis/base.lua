-- What every script of the Redis transport begins with.
--
-- KEYS    the base keys of the queues it works on, "prefix:{queue}": all that belongs to a queue is in one slot:
--           BASE:0 .. BASE:9   lists of what is ready, one a rank (9 - priority); in on the left, out on the right
--           BASE:delayed       sorted set of what is not due yet, by due time
--           BASE:held:HOLDER   hash of what a holder has claimed, by fence
--           BASE:leases        sorted set of holders, by the end of their lease; -1: expired, being reaped
--           BASE:waiting       set of holders that found less than they asked for: whom to ring
--           BASE:fence         the last fence that was given out, for a day
--           BASE:told          somebody was woken a moment ago, to know of a due time
--           BASE:ids:W:N       ids published in the Nth window of W seconds
--           BASE:counts        crashes and losses of what was given back to Celery's lists, by its SHA-1, for a week
--           NAME, NAME..\6\22..STEP   lists of Celery's, of a queue that it shares: the plain name is step 0, then 3, 6, 9
-- ARGV[1] the time, or "": then the server's own clock counts
-- ARGV[2] what the channels begin with on which waiting workers are rung
-- ARGV[3] the hash that names all queues; "" on a Cluster, where it is in another slot, and where KEYS ends with one more
--         that is never there: while a slot is on its way to another node, a script with two keys waits until it is there
--
-- An element is a message as it is kept: byte 1 its rank, 2 its crashes, 3 its losses, 4-11 when it became ready (a
-- double), 12-19 a number that makes it unique (255 and its last fence, once it was given back), then what is not looked
-- at here. See element.py. The rank of a message of Celery's is its step; it lies in Celery's lists without our header.
--
-- A server that is out of memory refuses commands that may need more, unless the script has written before. So what
-- must always work begins with a write that needs none.

local CHUNK = 1000 -- values unpacked at once; Lua's stack takes less than 8000

if ARGV[3] == '' then
  table.remove(KEYS)
end

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local function exact(number)
  return string.format('%.17g', number)
end

local function start_writing()
  redis.call('DEL', KEYS[1] .. ':nothing')
end

-- Call `command key values...` with values[first..last], a chunk at a time.
local function with_all(command, key, values, first, last)
  for start = first, last, CHUNK do
    redis.call(command, key, unpack(values, start, math.min(start + CHUNK - 1, last)))
  end
end

local function is_live(base, holder)
  local lease = redis.call('ZSCORE', base .. ':leases', holder)
  return lease and tonumber(lease) >= 0
end

local function bell(holder)
  return ARGV[2] .. string.sub(holder, 1, 16)
end

-- Wake one worker that waits for messages of this queue, and is alive. On a Cluster the number of listeners is unknown.
local function ring(base)
  while true do
    local holder = redis.call('SPOP', base .. ':waiting')
    if not holder then
      return
    end
    local lease = redis.call('ZSCORE', base .. ':leases', holder)
    if lease and tonumber(lease) >= now then
      if redis.call('PUBLISH', bell(holder), '') > 0 or ARGV[3] == '' then
        return
      end
    end
  end
end

-- Wake every worker on this queue.
local function ring_all(base)
  for _, holder in ipairs(redis.call('ZRANGEBYSCORE', base .. ':leases', exact(now), '+inf')) do
    redis.call('PUBLISH', bell(holder), '')
  end
end

local function is_celerys(element)
  return string.byte(element, 24) == 123 and string.sub(element, 20, 23) == '\0\0\0\0' -- "{", and no properties
end

-- Celery's list of a step: the name of the queue is in its base key, escaped (keys.py).
local function celerys(base, step)
  local name = string.gsub(string.match(base, '{(.*)}$'), '%%(%x%x)', function(code)
    return string.char(tonumber(code, 16))
  end)
  return step == 0 and name or name .. '\6\22' .. step
end

-- Put a message where Celery's workers find it too, as it came. What they do not count is kept beside.
local function give_to_celery(command, base, element)
  local wire, counts = string.sub(element, 24), string.sub(element, 2, 3)
  if counts ~= '\0\0' then
    redis.call('HSET', base .. ':counts', redis.sha1hex(wire), counts)
    redis.call('EXPIRE', base .. ':counts', 604800)
  end
  redis.call(command, celerys(base, string.byte(element, 1)), wire)
end

-- Put an element back that was held under this fence: among the delayed, or at the head of its list, where what was given
-- back is in the order in which it was claimed.
local function give_back(base, element, fence, due)
  fence = tonumber(fence)
  local mark = string.char(255) .. struct.pack('>I7', fence)
  if due then
    element = string.sub(element, 1, 3) .. struct.pack('>d', due) .. mark .. string.sub(element, 20)
    redis.call('ZADD', base .. ':delayed', exact(due), element)
    return
  end
  if is_celerys(element) then
    give_to_celery('RPUSH', base, element)
    return
  end
  local key, ahead = base .. ':' .. string.byte(element, 1), {}
  while true do
    local head = redis.call('LINDEX', key, -1)
    if not head or string.byte(head, 12) ~= 255 or struct.unpack('>I7', head, 13) > fence then
      break
    end
    ahead[#ahead + 1] = redis.call('RPOP', key)
  end
  redis.call('RPUSH', key, string.sub(element, 1, 11) .. mark .. string.sub(element, 20))
  for n = #ahead, 1, -1 do
    redis.call('RPUSH', key, ahead[n])
  end
end

-- One more in the count at this byte of an element: 2 its crashes, 3 its losses.
local function counted(element, byte)
  local count = math.min(string.byte(element, byte) + 1, 255)
  return string.sub(element, 1, byte - 1) .. string.char(count) .. string.sub(element, byte + 1)
end

local function largest_first(fences)
  table.sort(fences, function(one, other) return tonumber(one) > tonumber(other) end)
  return fences
end
