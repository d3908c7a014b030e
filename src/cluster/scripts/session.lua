-- session.lua -- which machine has a session.
--
-- KEYS[1]: "<prefix>:{<partition>}:s:<key>", a string: the machine (11 characters), and since when
-- it has the session, in milliseconds of this server's clock. ARGV: the operation, the machine that
-- calls, for how many milliseconds the key lasts, and for how many it has had the session.
--
-- Returns the machine that had the session before, or ""; "!" if that has it since later, and keeps
-- it.

local operation, machine, lasts, age = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local CLAIM = 10000 -- milliseconds of a handshake
local LENGTH = 11
local value = redis.call('GET', KEYS[1]) or ''
local owner, since = string.sub(value, 1, LENGTH), tonumber(string.sub(value, LENGTH + 1)) or 0

if operation == 'begin' then
  local time = redis.call('TIME')
  local began = time[1] * 1000 + math.floor(time[2] / 1000) - age
  if owner ~= machine and since > began then
    return '!'
  end
  redis.call('SET', KEYS[1], machine .. string.format('%.0f', began), 'PX', lasts)
elseif operation == 'find' and owner == '' then
  -- a new session is likely to begin: another machine that asks now is to come after it
  redis.call('SET', KEYS[1], machine .. '0', 'PX', CLAIM)
elseif operation == 'end' and owner == machine then
  redis.call('DEL', KEYS[1])
end
return owner
