-- floor.lua -- in a new life of the server, or on another server, no room of a partition goes on in
-- an epoch of before: messages may be lost that clients have. It never lowers the floor.
--
-- KEYS[1]  PREFIX:{PARTITION}:floor
-- ARGV     the server's run id; the greatest epoch of a former life that the machine has seen
-- Returns  the floor.

local floor, run = string.match(redis.call("GET", KEYS[1]) or "0 ", "^(%d+) (.*)$")
floor = tonumber(floor)
local greatest = tonumber(ARGV[2])
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local new = floor
if run ~= ARGV[1] then
  new = math.max(now, floor + 1, greatest + 1)
elseif greatest >= floor then
  new = greatest + 1
end
local text = string.format("%.0f", new)
if new ~= floor then
  redis.call("SET", KEYS[1], text .. " " .. ARGV[1])
end
return text
