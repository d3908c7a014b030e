-- publish.lua -- stores and publishes messages of rooms with a memory, all of one partition.
--
-- A room's stream has the messages as entries, each with the id EPOCH-OFFSET. A message is numbered
-- by the XADD that stores it. The last message of each key is in the hash of retained messages,
-- under "k" and the key; its field "d" is the largest offset that a limit has removed. A sorted set
-- has the keys by their offsets.
--
-- KEYS[1]  PREFIX:{PARTITION}:floor
-- ARGV[1]  the head of what is published
-- ARGV[2]  the machine's id
-- ARGV[3]  the number of the last message: a call whose number is not above that of the machine's
--          last call has been executed before
-- then of each message: its room; the epoch that the machine knows, 0: none, -1: the room is to
-- begin a new one, because clients have the message under another number; the number of entries
-- that the stream keeps; no bytes, or "RENEW TTL KEYS KEYTTL KEY" (RENEW 1: sets the times of
-- expiry, in ms, 0: never; KEYS: messages to retain, 0: none), or "clear", or "clear KEY"; its
-- body.
-- Returns a list: index, epoch of each message whose epoch the machine did not know; index, text of
-- each that failed.

local ARGUMENTS = 5
local base = string.sub(KEYS[1], 1, -6)
local head, machine_key, last = ARGV[1], base .. "n:" .. ARGV[2], tonumber(ARGV[3])
local streams, retained, orders, channels = base .. "h:", base .. "v:", base .. "o:", base .. "c:"

local done = redis.call("GET", machine_key)
if done and tonumber(done) >= last then
  return {}
end
local floor = tonumber(string.match(redis.call("GET", KEYS[1]) or "0", "^%d+"))
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = string.format("%.0f ", now)
local result, begun = {}, {}

local function id_of(epoch, offset)
  return string.format("%.0f-%.0f", epoch, offset)
end

-- The room's last epoch and offset; nil: it has no stream.
local function position(stream)
  local info = redis.pcall("XINFO", "STREAM", stream)
  if info.err then
    return nil
  end
  for i = 1, #info, 2 do
    if info[i] == "last-generated-id" then
      local epoch, offset = string.match(info[i + 1], "^(%d+)-(%d+)$")
      return tonumber(epoch), tonumber(offset)
    end
  end
end

-- The id of the next entry of a room whose epoch the machine does not know.
local function next_id(stream, known)
  local epoch, offset = position(stream)
  if not epoch then
    return id_of(math.max(now, floor, known + 1), 1)
  elseif known < 0 then
    return id_of(math.max(now, floor, epoch + 1), offset + 1)
  elseif epoch < floor then
    return id_of(math.max(floor, epoch + 1), offset + 1)
  end
  return id_of(epoch, offset + 1)
end

-- Removes the oldest retained messages of a room, if there are more than so many.
local function drop_oldest(hash, order, most)
  local more = redis.call("ZCARD", order) - most
  if more <= 0 then
    return
  end
  local oldest = redis.call("ZPOPMIN", order, more)
  for i = 1, #oldest, 2 do
    redis.call("HDEL", hash, "k" .. oldest[i])
  end
  redis.call("HSET", hash, "d", oldest[#oldest])
end

local function expire(key, ttl)
  if ttl == "0" then
    redis.call("PERSIST", key)
  else
    redis.call("PEXPIRE", key, ttl)
  end
end

local function keep(room, rule, id, entry)
  local renew, ttl, keys, key_ttl, key =
    string.match(rule, "^(%d) (%d+) (%d+) (%d+) (.*)$")
  local hash, order, most = retained .. room, orders .. room, tonumber(keys)
  if most > 0 then
    redis.call("ZADD", order, string.match(id, "%d+$"), key)
    if redis.call("HSET", hash, "k" .. key, id .. " " .. entry) == 1 then
      drop_oldest(hash, order, most)
    end
  end
  if renew == "1" then
    expire(streams .. room, ttl)
    if most > 0 then
      expire(hash, key_ttl)
      expire(order, key_ttl)
    end
  end
end

-- Forgets what a room has, and begins a new epoch; or the retained message of one key. Returns the
-- id of the room's last message.
local function clear(room, rule, known)
  local stream, key = streams .. room, string.match(rule, "^clear (.*)$")
  local epoch, offset = position(stream)
  if key then
    redis.call("HDEL", retained .. room, "k" .. key)
    redis.call("ZREM", orders .. room, key)
    return id_of(epoch or math.max(now, floor, known + 1), offset or 0)
  end
  local id = id_of(math.max(now, floor, known + 1, (epoch or 0) + 1), 0)
  redis.call("DEL", retained .. room, orders .. room)
  if epoch then
    redis.call("XTRIM", stream, "MAXLEN", "0")
  else
    redis.call("XGROUP", "CREATE", stream, "begin", "$", "MKSTREAM")
    redis.call("XGROUP", "DESTROY", stream, "begin")
    redis.call("PEXPIRE", stream, 86400000)
  end
  redis.call("XSETID", stream, id)
  return id
end

-- Errors of the whole server, before which nothing was written.
local function is_refusal(text)
  local word = string.match(text, "^-?(%u+)")
  return word == "OOM" or word == "MISCONF" or word == "READONLY" or word == "NOREPLICAS"
end

local arguments, call, try_call, sub = ARGV, redis.call, redis.pcall, string.sub
for i = 4, #arguments, ARGUMENTS do
  local room, known, most, rule, body = arguments[i], arguments[i + 1], arguments[i + 2],
    arguments[i + 3], arguments[i + 4]
  local entry, id = stamp .. body, nil
  if rule ~= "" and string.sub(rule, 1, 5) == "clear" then
    id = clear(room, rule, tonumber(known))
    result[#result + 1] = (i - 4) / ARGUMENTS
    result[#result + 1] = string.match(id, "^%d+")
  else
    local stream = streams .. room
    if known == "-1" and begun[room] then
      known = begun[room]
    end
    local epoch = tonumber(known)
    if epoch > 0 and epoch >= floor then
      id = try_call("XADD", stream, "NOMKSTREAM", "MAXLEN", "~", most, known .. "-*", "d", entry)
      if type(id) == "string" and sub(id, -2) == "-0" then -- it has a former epoch
        redis.call("XDEL", stream, id)
        id = nil
      end
    end
    if type(id) ~= "string" then
      id = redis.pcall("XADD", stream, "MAXLEN", "~", most, next_id(stream, epoch), "d", entry)
      if type(id) == "string" then
        result[#result + 1] = (i - 4) / ARGUMENTS
        result[#result + 1] = string.match(id, "^%d+")
        begun[room] = result[#result]
        if string.sub(rule, 1, 1) == "0" then -- a new stream has no time of expiry
          rule = "1" .. string.sub(rule, 2)
        end
      end
    end
    if type(id) == "string" then
      if rule ~= "" then
        keep(room, rule, id, entry)
      end
    elseif i == 4 and is_refusal(id.err) then
      return id
    else
      result[#result + 1] = (i - 4) / ARGUMENTS
      result[#result + 1] = id.err
      id = nil
    end
  end
  if id then
    call("SPUBLISH", channels .. room, head .. id .. " " .. entry)
  end
end
redis.call("SET", machine_key, ARGV[3], "EX", 86400)
return result
