-- Queue messages that the store made ready by the step that runs; joined to base.lua.
--
-- `push_sealed(parcels)` takes {queue, priority, wire, due instant or 0} of each. Their queues need not be in KEYS: a step
-- that the store takes part in is on one server. Their elements are made here: see element.py.

-- The name of a queue without braces: see keys.py.
local function escaped(queue)
  if queue == '' then
    return '%empty'
  end
  return (string.gsub(queue, '[%%{}]', function(letter) return string.format('%%%02X', string.byte(letter)) end))
end

local function push_sealed(parcels)
  local prefix, time = string.match(KEYS[1], '^(.-){'), redis.call('TIME')
  local seconds, serial = tonumber(time[1]) % 2 ^ 31, tonumber(time[2]) * 4096
  local lists, delayed = {}, {}
  for n, parcel in ipairs(parcels) do
    local queue, rank, wire, due = parcel[1], 9 - parcel[2], parcel[3], parcel[4]
    local base = prefix .. '{' .. escaped(queue) .. '}'
    local ready_at = math.max(now, due)
    local element = struct.pack('>BBBdI4I4I4', rank, 0, 0, ready_at, seconds, (serial + n) % 2 ^ 32, 0) .. wire
    delayed[base] = delayed[base] or {}
    if due > now then
      table.insert(delayed[base], exact(due))
      table.insert(delayed[base], element)
    else
      local key = base .. ':' .. rank
      lists[key] = lists[key] or {}
      table.insert(lists[key], element)
    end
  end
  for key, elements in pairs(lists) do
    with_all('LPUSH', key, elements, 1, #elements)
  end
  for base, values in pairs(delayed) do
    with_all('ZADD', base .. ':delayed', values, 1, #values)
    redis.call('HSETNX', ARGV[3], string.match(base, '{(.*)}$'), '')
    ring(base)
  end
end
