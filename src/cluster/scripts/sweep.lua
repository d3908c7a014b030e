-- sweep.lua -- which machine removes the members of a dead one. Runs in Redis.
--
-- KEYS[1]: <nodes>, as in lease.lua; ARGV: the operation, the dead machine, and
--   take  <milliseconds of silence> <milliseconds after which another sweeper has failed>
--         -> 1: the caller is to remove its members; 0: it lives, is gone, or another one does it
--   done  -> 1: no members are left

local call = redis.call
local nodes, dead = KEYS[1], ARGV[2]
local sweeping = nodes .. ':sweeping'

if ARGV[1] == 'done' then
  call('ZREM', sweeping, dead)
  return 1
end

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local heartbeat, since = call('ZSCORE', nodes, dead), call('ZSCORE', sweeping, dead)
if heartbeat and now - heartbeat <= tonumber(ARGV[3]) then
  return 0
elseif not heartbeat and not since then
  return 0
elseif since and now - since <= tonumber(ARGV[4]) then
  return 0
end
call('ZREM', nodes, dead)
call('HDEL', nodes .. ':ready', dead)
call('ZADD', sweeping, string.format('%.0f', now), dead)
return 1
