-- members.lua -- the members of the rooms of one partition. Runs in Redis, so each call is one step
-- for all machines.
--
--   <base>m:<room>         hash: a machine -> the number of its members; "v" -> the room's version
--   <base>n:<node>:<room>  hash: a member's id -> the member, packed
--   <base>r:<node>         set: the rooms in which the machine has members
--   <base>mv               the last version of any room of the partition
--   <users>                set: the users with a connection on any machine; <users>:v: its version
--
-- A version begins at the clock of Redis, in microseconds, so that it is larger after data was
-- lost. A room without members has the version 0. Each change is published in the room's channel:
-- the head, the version before, the version, and the changes, each a byte and
--
--   0: id          it has left              2: machine   all members of the machine have left
--   1: id, member  it has joined, or the member has changed
--
-- Ids have a fixed length. In the channel of users: 0 or 1, and the user's name.
--
-- KEYS[1]: <base>r:<node>; ARGV: the operation, <base>, the machine, and
--   change  <nodes> <users> <prefix of users' rooms> <head> (<room> <n> (<id> <member|"">)n)…
--           -> 1; 0: the machine has no lease, and nothing was done
--   remove  <nodes> <users> <prefix of users' rooms> <head> <rooms at most>: the members of a
--           machine without a lease -> the number of rooms that are left; -1: it has a lease
--   own     the rooms with members of the machine -> { room, { id, … }, … }
--   read    <room> <members at most> -> { version, machine, { id, member, … } or number, … }

local call = redis.call
local operation, base, node = ARGV[1], ARGV[2], ARGV[3]

-- A number as base/packing.h has it.
local function pack(number)
  local bytes = ''
  while number >= 128 do
    bytes = bytes .. string.char(number % 128 + 128)
    number = math.floor(number / 128)
  end
  return bytes .. string.char(number)
end

local function next_version(key)
  local version = call('INCR', key)
  if version == 1 then
    local time = call('TIME')
    version = time[1] * 1000000 + time[2]
    call('SET', key, string.format('%.0f', version))
  end
  return version
end

local function text(version)
  return string.format('%.0f', version)
end

-- A user's room has its first member, or has lost its last one.
local function publish_user(room, is_online)
  local users, prefix, head = ARGV[5], ARGV[6], ARGV[7]
  if room:sub(1, #prefix) ~= prefix then
    return
  end
  local name = room:sub(#prefix + 1)
  if call(is_online and 'SADD' or 'SREM', users, name) == 0 then
    return
  end
  local version = next_version(users .. ':v')
  call('SPUBLISH', users, head .. pack(version) .. string.char(is_online and 1 or 0) .. name)
end

-- The machine has `count` members in the room after these changes.
local function publish(room, count, changes)
  local key = base .. 'm:' .. room
  local before = call('HGET', key, 'v')
  local version = next_version(base .. 'mv')
  if count > 0 then
    call('HSET', key, 'v', text(version), node, count)
    call('SADD', KEYS[1], room)
  else
    call('HDEL', key, node)
    call('SREM', KEYS[1], room)
    if call('HLEN', key) > 1 then
      call('HSET', key, 'v', text(version))
    else
      call('DEL', key)
    end
  end
  call('SPUBLISH', base .. 'c:' .. room,
    ARGV[7] .. pack(tonumber(before or 0)) .. pack(version) .. table.concat(changes))
  if not before and count > 0 then
    publish_user(room, true)
  elseif count == 0 and call('EXISTS', key) == 0 then
    publish_user(room, false)
  end
end

local function change()
  if not call('ZSCORE', ARGV[4], node) then
    return 0
  end
  local at = 8
  while at < #ARGV do
    local room, count, changes = ARGV[at], tonumber(ARGV[at + 1]), {}
    local key = base .. 'n:' .. node .. ':' .. room
    at = at + 2
    for _ = 1, count do
      local id, member = ARGV[at], ARGV[at + 1]
      at = at + 2
      if member == '' then
        if call('HDEL', key, id) == 1 then
          changes[#changes + 1] = '\0' .. id
        end
      elseif call('HGET', key, id) ~= member then
        call('HSET', key, id, member)
        changes[#changes + 1] = '\1' .. id .. member
      end
    end
    if #changes > 0 then
      publish(room, call('HLEN', key), changes)
    end
  end
  return 1
end

local function remove()
  if call('ZSCORE', ARGV[4], node) then
    return -1
  end
  local rooms = call('SRANDMEMBER', KEYS[1], ARGV[8])
  for _, room in ipairs(rooms) do
    call('UNLINK', base .. 'n:' .. node .. ':' .. room)
    if call('HEXISTS', base .. 'm:' .. room, node) == 1 then
      publish(room, 0, { '\2' .. node })
    else
      call('SREM', KEYS[1], room)
    end
  end
  return call('SCARD', KEYS[1])
end

local function own()
  local list = {}
  for _, room in ipairs(call('SMEMBERS', KEYS[1])) do
    list[#list + 1] = room
    list[#list + 1] = call('HKEYS', base .. 'n:' .. node .. ':' .. room)
  end
  return list
end

local function read()
  local room, left = ARGV[4], tonumber(ARGV[5])
  local machines = call('HGETALL', base .. 'm:' .. room)
  local list = { '0' }
  for i = 1, #machines, 2 do
    local machine, count = machines[i], machines[i + 1]
    if machine == 'v' then
      list[1] = count
    elseif tonumber(count) <= left then
      left = left - tonumber(count)
      list[#list + 1] = machine
      list[#list + 1] = call('HGETALL', base .. 'n:' .. machine .. ':' .. room)
    else
      list[#list + 1] = machine
      list[#list + 1] = tonumber(count)
    end
  end
  return list
end

local operations = { change = change, remove = remove, own = own, read = read }
return operations[operation]()
