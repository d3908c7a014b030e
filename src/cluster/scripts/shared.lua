-- shared.lua -- one operation of a store of tw.shared that all machines of the cluster see. Runs in
-- Redis, so each operation is one step for all.
--
-- KEYS[1]: the store, "<prefix>:{<partition>}:d:<name>". ARGV: the operation, the key of the ends,
-- "<prefix>:{<partition>}:e:<name>", and the operation's arguments. The answer is a list of
-- strings, the first of them a word.
--
-- The store is a hash: "k" and the key -> the value; "b" -> the bytes of all entries. A value is a
-- decimal integer, "f" and the eight bytes of a float, "s" and the bytes of a string, "t" or "x"
-- (true, false). The ends of keys with a time to live are a sorted set, in milliseconds of this
-- server's clock. Where every key has one, both keys of Redis end with the last.

local ENTRY = 140 -- bytes that each key costs beside key and value
local PURGED = 20 -- ended keys that a write takes out at most, while there is room

local call = redis.call
local values, ends = KEYS[1], ARGV[2]
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function cost(key, value)
  return ENTRY + #key + #value
end

local function forget(key, value)
  call('HDEL', values, 'k' .. key)
  call('ZREM', ends, key)
  if call('HLEN', values) <= 1 then
    call('DEL', values, ends)
  else
    call('HINCRBY', values, 'b', -cost(key, value))
  end
end

local function has_ended(key)
  local last = call('ZSCORE', ends, key)
  return last and tonumber(last) <= now
end

--- The value, or nil. Takes out a key that has ended.
local function read(key)
  local value = call('HGET', values, 'k' .. key)
  if value and has_ended(key) then
    forget(key, value)
    return nil
  end
  return value or nil
end

--- Takes out keys that have ended. Returns how many.
local function purge(max)
  local list = call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, max)
  for _, key in ipairs(list) do
    local value = call('HGET', values, 'k' .. key)
    if value then
      forget(key, value)
    else
      call('ZREM', ends, key)
    end
  end
  return #list
end

local function bytes()
  return tonumber(call('HGET', values, 'b') or 0)
end

local function set_end(key, ttl)
  if ttl == 0 then
    call('ZREM', ends, key)
  else
    call('ZADD', ends, string.format('%.0f', now + ttl), key)
  end
end

--- The keys of Redis end with the last entry, unless an entry has no end.
local function fit_end()
  local with_end = call('ZCARD', ends)
  if with_end > 0 and with_end == call('HLEN', values) - 1 then
    local last = call('ZREVRANGE', ends, 0, 0, 'WITHSCORES')[2]
    call('PEXPIREAT', values, string.format('%.0f', last))
    call('PEXPIREAT', ends, string.format('%.0f', last))
  else
    call('PERSIST', values)
    call('PERSIST', ends)
  end
end

--- Sets a value; `old` is the one that read() has returned. An existing key keeps its end, unless
--- `always` is set. False: it is full.
local function put(key, old, value, max, ttl, always)
  local more = cost(key, value)
  if more > max then
    return false
  end
  more = more - (old and cost(key, old) or 0)
  purge(PURGED)
  while bytes() + more > max do
    if purge(100) == 0 then
      return false
    end
  end
  call('HSET', values, 'k' .. key, value)
  call('HINCRBY', values, 'b', more)
  if always or not old then
    set_end(key, ttl)
    fit_end()
  end
  return true
end

local function is_integer(value)
  return string.find(value, '^-?%d') ~= nil
end

--- The number as a float; nil: the value is none.
local function float_of(value)
  if is_integer(value) then
    return tonumber(value)
  elseif string.sub(value, 1, 1) == 'f' then
    return (struct.unpack('>d', value, 2))
  end
end

--- Adds two integers, of which `old` is stored, or is to be. Redis adds exactly.
local function add_integers(key, old, initial, by, max, ttl)
  local field = 'k' .. key
  if not old and not put(key, nil, initial, max, ttl) then
    return { 'full' }
  end
  local answer = redis.pcall('HINCRBY', values, field, by)
  if type(answer) == 'table' and answer.err then
    if not old then
      forget(key, initial)
    end
    return { 'overflow' }
  end
  local sum = call('HGET', values, field) -- as text: a number of this Lua has 53 bits
  call('HINCRBY', values, 'b', #sum - #(old or initial))
  return { 'ok', sum }
end

local operations = {}

function operations.get(key)
  return { 'ok', read(key) }
end

function operations.set(key, value, max, ttl)
  return { put(key, read(key), value, tonumber(max), tonumber(ttl), true) and 'ok' or 'full' }
end

--- `expected` and `value`: "" is no value.
function operations.exchange(key, expected, value, max, ttl)
  max, ttl = tonumber(max), tonumber(ttl)
  if value ~= '' and cost(key, value) > max then
    return { 'full' }
  end
  local old = read(key)
  if (old or '') ~= expected then
    return { 'no' }
  elseif value ~= '' then
    return { put(key, old, value, max, ttl) and 'ok' or 'full' }
  elseif old then
    forget(key, old)
    fit_end()
  end
  return { 'ok' }
end

function operations.incr(key, by, initial, max, ttl)
  max, ttl = tonumber(max), tonumber(ttl)
  local old = read(key)
  if is_integer(old or initial) and is_integer(by) then
    return add_integers(key, old, initial, by, max, ttl)
  end
  local from = float_of(old or initial)
  if not from then
    return { 'no number' }
  end
  local sum = 'f' .. struct.pack('>d', from + float_of(by))
  return put(key, old, sum, max, ttl) and { 'ok', sum } or { 'full' }
end

function operations.delete(key)
  local old = read(key)
  if old then
    forget(key, old)
    fit_end()
  end
  return { old and 'ok' or 'no' }
end

function operations.expire(key, ttl)
  local old = read(key)
  if old then
    set_end(key, tonumber(ttl))
    fit_end()
  end
  return { old and 'ok' or 'no' }
end

--- A part of all entries: the cursor of the next part ("0": there is none), keys and values. A key
--- may come twice, in two parts.
local function scan(cursor, with_values)
  local answer, size = { 'ok', cursor }, 0
  repeat
    local part = call('HSCAN', values, answer[2], 'COUNT', 100)
    answer[2] = part[1]
    for i = 1, #part[2], 2 do
      local field, value = part[2][i], part[2][i + 1]
      local key = string.sub(field, 2)
      if field ~= 'b' and not has_ended(key) then
        answer[#answer + 1] = key
        answer[#answer + 1] = with_values and value or nil
        size = size + #key + (with_values and #value or 0)
      end
    end
  until answer[2] == '0' or size >= 65536 or #answer >= 1000
  return answer
end

function operations.keys(cursor)
  return scan(cursor, false)
end

function operations.entries(cursor)
  return scan(cursor, true)
end

return operations[ARGV[1]](unpack(ARGV, 3))
