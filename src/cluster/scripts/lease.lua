-- lease.lua -- the machines that live, by the clock of Redis. Runs in Redis.
--
--   <nodes>           sorted set: a machine -> its last heartbeat, in milliseconds
--   <nodes>:ready     hash: a machine -> the run of Redis in which it is subscribed, a space, and
--                     the life of the data in which it has announced its members
--   <nodes>:life      the life of the data, which ends with FLUSHALL
--   <nodes>:sweeping  sorted set: a dead machine -> when another one began to remove its members
--
-- KEYS[1]: <nodes>; ARGV: the operation, the machine, and
--   beat   <ready> -> { life, heartbeat before or "", now, { machine, heartbeat, ready, … },
--          { machine that is being swept, since, … } }
--   leave  -> 1: the machine has no lease any more; its members are still there

local call = redis.call
local nodes, node = KEYS[1], ARGV[2]
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function text(number)
  return string.format('%.0f', number)
end

if ARGV[1] == 'leave' then
  call('ZREM', nodes, node)
  call('HDEL', nodes .. ':ready', node)
  call('ZADD', nodes .. ':sweeping', text(now), node)
  return 1
end

local life = call('GET', nodes .. ':life')
if not life then
  life = time[1] .. '.' .. time[2]
  call('SET', nodes .. ':life', life)
end
local before = call('ZSCORE', nodes, node) or ''
call('ZADD', nodes, text(now), node)
call('ZREM', nodes .. ':sweeping', node)
call('HSET', nodes .. ':ready', node, ARGV[3])
local ready = {}
local marks = call('HGETALL', nodes .. ':ready')
for i = 1, #marks, 2 do
  ready[marks[i]] = marks[i + 1]
end
local list = {}
local scores = call('ZRANGE', nodes, 0, -1, 'WITHSCORES')
for i = 1, #scores, 2 do
  list[#list + 1] = scores[i]
  list[#list + 1] = scores[i + 1]
  list[#list + 1] = ready[scores[i]] or ''
end
return { life, before, text(now), list, call('ZRANGE', nodes .. ':sweeping', 0, -1, 'WITHSCORES') }
