-- read.lua -- what a room remembers: all of it, or what came behind an entry that a machine knows.
--
-- A room whose epoch is below the partition's floor gets a new epoch, in which its offsets go on. A
-- room without a stream gets one that is empty, so that it has an epoch before its first message.
--
-- KEYS[1]  PREFIX:{PARTITION}:floor
-- ARGV     the room; the epoch that the machine knows, 0: none; the id of the last entry that it
--          has; the most entries to read; the time of expiry in ms, 0: never; 1: with all retained
--          messages, where all is read
-- Returns  the epoch; the offset of the last message; this server's time in ms; 1: all is read, 0:
--          it goes on behind the entry; the offset before the first entry; the largest offset of a
--          retained message that a limit has removed; a list of id, message of entries; a list of
--          retained messages, each with its id.

-- Entries are read in steps, until there are so many bytes.
local STEP, BYTES = 20, 1048576

local base = string.sub(KEYS[1], 1, -6)
local room, known, behind, most, ttl, with_retained =
  ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6] == "1"
local stream, hash = base .. "h:" .. room, base .. "v:" .. room
local floor = tonumber(string.match(redis.call("GET", KEYS[1]) or "0", "^%d+"))
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function set_id(epoch, offset)
  redis.call("XSETID", stream, string.format("%.0f-%.0f", epoch, offset))
end

local epoch, offset
local info = redis.pcall("XINFO", "STREAM", stream)
if info.err then
  epoch, offset = math.max(now, floor, known + 1), 0
  redis.call("XGROUP", "CREATE", stream, "begin", "$", "MKSTREAM")
  redis.call("XGROUP", "DESTROY", stream, "begin")
  set_id(epoch, offset)
  redis.call("PEXPIRE", stream, ttl == "0" and "86400000" or ttl)
else
  for i = 1, #info, 2 do
    if info[i] == "last-generated-id" then
      epoch, offset = string.match(info[i + 1], "^(%d+)-(%d+)$")
      epoch, offset = tonumber(epoch), tonumber(offset)
    end
  end
  if epoch < floor then
    epoch = math.max(floor, epoch + 1)
    set_id(epoch, offset)
  end
end

-- The offset before the first entry.
local first = redis.call("XRANGE", stream, "-", "+", "COUNT", "1")[1]
local before = first and tonumber(string.match(first[1], "-(%d+)$")) - 1 or offset
local has = tonumber(string.match(behind, "-(%d+)$"))
local all = epoch ~= known or has < before or has > offset
local list, kept = {}, {}
local bytes, count, start = 0, 0, all and "-" or "(" .. behind
while count < most and bytes < BYTES do
  local entries = redis.call("XRANGE", stream, start, "+", "COUNT", math.min(STEP, most - count))
  for _, entry in ipairs(entries) do
    list[#list + 1] = entry[1]
    list[#list + 1] = entry[2][2]
    bytes = bytes + #entry[2][2]
  end
  if #entries < STEP then
    break
  end
  count = count + #entries
  start = "(" .. list[#list - 1]
end
local dropped = 0
if all and with_retained then
  local fields = redis.call("HGETALL", hash)
  dropped = #fields == 0 and offset or 0
  for i = 1, #fields, 2 do
    if fields[i] == "d" then
      dropped = tonumber(fields[i + 1])
    else
      kept[#kept + 1] = fields[i + 1]
    end
  end
end
return { string.format("%.0f", epoch), string.format("%.0f", offset), string.format("%.0f", now),
  all and 1 or 0, string.format("%.0f", before), string.format("%.0f", dropped), list, kept }
