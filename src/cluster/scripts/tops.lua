-- tops.lua -- the last message of each of some rooms, all of one partition. Their streams do not
-- expire while a machine asks.
--
-- KEYS[1]  PREFIX:{PARTITION}:floor
-- ARGV     of each room: its name; the time of expiry in ms, 0: never
-- Returns  of each the id of its last message; no bytes: it has no stream, or one of a former
--          epoch.

local base = string.sub(KEYS[1], 1, -6)
local floor = tonumber(string.match(redis.call("GET", KEYS[1]) or "0", "^%d+"))
local result = {}
for i = 1, #ARGV, 2 do
  local stream, id = base .. "h:" .. ARGV[i], ""
  local info = redis.pcall("XINFO", "STREAM", stream)
  if not info.err then
    for at = 1, #info, 2 do
      if info[at] == "last-generated-id" then
        id = info[at + 1]
      end
    end
    if tonumber(string.match(id, "^%d+")) < floor then
      id = ""
    end
    if ARGV[i + 1] ~= "0" then
      redis.call("PEXPIRE", stream, ARGV[i + 1])
    elseif redis.call("PTTL", stream) >= 0 then
      redis.call("PEXPIRE", stream, 86400000)
    end
  end
  result[#result + 1] = id
end
return result
