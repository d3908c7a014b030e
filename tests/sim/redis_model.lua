-- redis_model.lua -- a model of one Redis server: its keys, the commands that Tidewire uses, and
-- its scripts, which are the real ones of src/cluster/scripts.
--
-- Replies are as redis_real.lua gives them: an integer, a string, a list, false for nil, { err = },
-- { ok = }. A command or an option that it does not know is an error of the test. Scripts run in
-- Lua 5.4 where Redis has 5.1: their numbers may be integers here. The caller passes the time.

local redis_model = {}

---@class sim.redis
---@field publish fun(channel: string, payload: string)
---@field subscribers fun(channel: string): integer
local Redis = {}
Redis.__index = Redis

local function fail(format, ...) error({ err = format:format(...) }, 0) end

local function unknown(format, ...) error("the model of Redis has no " .. format:format(...), 0) end

--- A server without keys. The caller sets `publish` and `subscribers`.
---@return sim.redis
function redis_model.new()
  return setmetatable({ keys = {}, now_us = 0, scripts = {}, commands = 0 }, Redis)
end

-- ---- keys ----

-- What a key has: { kind =, value =, expires_us = }, or nil.
local function find(self, key, kind)
  local found = self.keys[key]
  if found and found.expires_us and found.expires_us <= self.now_us then
    self.keys[key], found = nil, nil
  end
  if found and kind and found.kind ~= kind then
    fail("WRONGTYPE Operation against a key holding the wrong kind of value")
  end
  return found
end

local function make(self, key, kind, value)
  local found = find(self, key, kind)
  if not found then
    found = { kind = kind, value = value }
    self.keys[key] = found
  end
  return found
end

local function integer(text)
  local value = math.tointeger(tonumber(text))
  if not value or not tostring(text):find("^%-?%d+$") then
    fail("ERR value is not an integer or out of range")
  end
  return value
end

local function number(text)
  local lower = text:lower()
  if lower == "+inf" or lower == "inf" then return math.huge end
  if lower == "-inf" then return -math.huge end
  return tonumber(text) or fail("ERR value is not a valid float")
end

-- As Redis writes a double.
local function float_text(value)
  if value == math.floor(value) and math.abs(value) < 1e17 then return ("%d"):format(value) end
  return ("%.17g"):format(value)
end

local function sorted_keys(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

local function drop_if_empty(self, key, found)
  if next(found.value) == nil then self.keys[key] = nil end
end

local commands = {}

-- ---- strings, and keys as such ----

function commands.get(self, key)
  local found = find(self, key, "string")
  return found and found.value or false
end

function commands.set(self, key, value, ...)
  local options, at, arguments = {}, 1, { ... }
  while arguments[at] do
    local name = arguments[at]:upper()
    if name == "NX" or name == "XX" or name == "KEEPTTL" or name == "GET" then
      options[name] = true
    elseif name == "PX" or name == "EX" then
      at = at + 1
      options.expires_us = self.now_us + integer(arguments[at]) * (name == "PX" and 1000 or 1000000)
      if integer(arguments[at]) <= 0 then fail("ERR invalid expire time in 'set' command") end
    else
      unknown("option %s of SET", name)
    end
    at = at + 1
  end
  local found = find(self, key)
  local old = options.GET and (found and found.value or false)
  if options.NX and found or options.XX and not found then return old or false end
  self.keys[key] = { kind = "string", value = value,
    expires_us = options.expires_us or options.KEEPTTL and found and found.expires_us or nil }
  if options.GET then return old end
  return { ok = "OK" }
end

function commands.incrby(self, key, by)
  local found = make(self, key, "string", "0")
  local value = integer(found.value)
  by = integer(by)
  if by > 0 and value > math.maxinteger - by or by < 0 and value < math.mininteger - by then
    fail("ERR increment or decrement would overflow")
  end
  found.value = tostring(value + by)
  return value + by
end

function commands.incr(self, key) return commands.incrby(self, key, "1") end
function commands.decr(self, key) return commands.incrby(self, key, "-1") end

function commands.incrbyfloat(self, key, by)
  local found = make(self, key, "string", "0")
  found.value = float_text(number(found.value) + number(by))
  return found.value
end

function commands.strlen(self, key)
  local found = find(self, key, "string")
  return found and #found.value or 0
end

function commands.del(self, ...)
  local count = 0
  for _, key in ipairs({ ... }) do
    if find(self, key) then count = count + 1 end
    self.keys[key] = nil
  end
  return count
end
commands.unlink = commands.del

function commands.exists(self, ...)
  local count = 0
  for _, key in ipairs({ ... }) do if find(self, key) then count = count + 1 end end
  return count
end

function commands.type(self, key)
  local found = find(self, key)
  return { ok = found and found.kind or "none" }
end

local function expire(factor, is_absolute)
  return function(self, key, time, option)
    if option then unknown("option %s of EXPIRE", option) end
    local found = find(self, key)
    if not found then return 0 end
    found.expires_us = integer(time) * factor + (is_absolute and 0 or self.now_us)
    find(self, key)
    return 1
  end
end
commands.expire, commands.pexpire = expire(1000000), expire(1000)
commands.expireat, commands.pexpireat = expire(1000000, true), expire(1000, true)

function commands.persist(self, key)
  local found = find(self, key)
  if not found or not found.expires_us then return 0 end
  found.expires_us = nil
  return 1
end

function commands.pttl(self, key)
  local found = find(self, key)
  if not found then return -2 end
  return found.expires_us and (found.expires_us - self.now_us) // 1000 or -1
end

function commands.ttl(self, key)
  local left = commands.pttl(self, key)
  return left < 0 and left or (left + 500) // 1000
end

local function pattern_of(glob)
  local text = glob:gsub("[%^%$%(%)%%%.%+%-]", "%%%0"):gsub("%*", ".*"):gsub("%?", ".")
  return "^" .. text .. "$"
end

-- A page of a map's keys: the cursor is a place in their order. What is there all the time comes.
local function scan(keys, cursor, arguments)
  local count, pattern = 10, nil
  for i = 1, #arguments, 2 do
    local name = arguments[i]:upper()
    if name == "COUNT" then count = integer(arguments[i + 1])
    elseif name == "MATCH" then pattern = pattern_of(arguments[i + 1])
    else unknown("option %s of SCAN", name) end
  end
  local page, at = {}, integer(cursor)
  local last = math.min(#keys, at + count)
  for i = at + 1, last do
    if not pattern or keys[i]:find(pattern) then page[#page + 1] = keys[i] end
  end
  return last < #keys and tostring(last) or "0", page
end

function commands.scan(self, cursor, ...)
  local keys = {}
  for key in pairs(self.keys) do if find(self, key) then keys[#keys + 1] = key end end
  table.sort(keys)
  local next_cursor, page = scan(keys, cursor, { ... })
  return { next_cursor, page }
end

-- ---- hashes ----

function commands.hset(self, key, ...)
  local arguments, added = { ... }, 0
  if #arguments < 2 or #arguments % 2 == 1 then
    fail("ERR wrong number of arguments for 'hset' command")
  end
  local hash = make(self, key, "hash", {}).value
  for i = 1, #arguments, 2 do
    if hash[arguments[i]] == nil then added = added + 1 end
    hash[arguments[i]] = arguments[i + 1]
  end
  return added
end
function commands.hmset(self, ...)
  commands.hset(self, ...)
  return { ok = "OK" }
end

function commands.hsetnx(self, key, field, value)
  local hash = make(self, key, "hash", {}).value
  if hash[field] then return 0 end
  hash[field] = value
  return 1
end

function commands.hget(self, key, field)
  local found = find(self, key, "hash")
  return found and found.value[field] or false
end

function commands.hmget(self, key, ...)
  local list = {}
  for i, field in ipairs({ ... }) do list[i] = commands.hget(self, key, field) end
  return list
end

function commands.hgetall(self, key)
  local found, list = find(self, key, "hash"), {}
  for _, field in ipairs(sorted_keys(found and found.value or {})) do
    list[#list + 1] = field
    list[#list + 1] = found.value[field]
  end
  return list
end

function commands.hkeys(self, key)
  local found = find(self, key, "hash")
  return sorted_keys(found and found.value or {})
end

function commands.hvals(self, key)
  local found, list = find(self, key, "hash"), {}
  for i, field in ipairs(commands.hkeys(self, key)) do list[i] = found.value[field] end
  return list
end

function commands.hdel(self, key, ...)
  local found, count = find(self, key, "hash"), 0
  if not found then return 0 end
  for _, field in ipairs({ ... }) do
    if found.value[field] ~= nil then count = count + 1 end
    found.value[field] = nil
  end
  drop_if_empty(self, key, found)
  return count
end

local function count_of(found)
  local count = 0
  for _ in pairs(found and found.value or {}) do count = count + 1 end
  return count
end

function commands.hlen(self, key)
  return count_of(find(self, key, "hash"))
end

function commands.hexists(self, key, field)
  return commands.hget(self, key, field) and 1 or 0
end

function commands.hstrlen(self, key, field)
  return #(commands.hget(self, key, field) or "")
end

function commands.hincrby(self, key, field, by)
  local hash = make(self, key, "hash", {}).value
  local value = integer(hash[field] or "0") + integer(by)
  hash[field] = tostring(value)
  return value
end

function commands.hscan(self, key, cursor, ...)
  local found = find(self, key, "hash")
  local next_cursor, page =
    scan(sorted_keys(found and found.value or {}), cursor, { ... })
  local list = {}
  for _, field in ipairs(page) do
    list[#list + 1] = field
    list[#list + 1] = found.value[field]
  end
  return { next_cursor, list }
end

-- ---- sets ----

function commands.sadd(self, key, ...)
  local set, added = make(self, key, "set", {}).value, 0
  for _, member in ipairs({ ... }) do
    if not set[member] then added = added + 1 end
    set[member] = true
  end
  return added
end

function commands.srem(self, key, ...)
  local found, count = find(self, key, "set"), 0
  if not found then return 0 end
  for _, member in ipairs({ ... }) do
    if found.value[member] then count = count + 1 end
    found.value[member] = nil
  end
  drop_if_empty(self, key, found)
  return count
end

function commands.smembers(self, key)
  local found = find(self, key, "set")
  return sorted_keys(found and found.value or {})
end

function commands.sismember(self, key, member)
  local found = find(self, key, "set")
  return found and found.value[member] and 1 or 0
end

function commands.scard(self, key)
  return count_of(find(self, key, "set"))
end

function commands.spop(self, key, count)
  local members = commands.smembers(self, key)
  if not count then
    if not members[1] then return false end
    commands.srem(self, key, members[1])
    return members[1]
  end
  local list = table.move(members, 1, math.min(#members, integer(count)), 1, {})
  if #list > 0 then commands.srem(self, key, table.unpack(list)) end
  return list
end

-- With a count: as many different ones, or all.
function commands.srandmember(self, key, count)
  local members = commands.smembers(self, key)
  if not count then return members[math.random(math.max(1, #members))] or false end
  count = integer(count)
  if count < 0 then unknown("SRANDMEMBER with a negative count") end
  local list = {}
  while #list < count and #members > 0 do
    list[#list + 1] = table.remove(members, math.random(#members))
  end
  return list
end

function commands.sscan(self, key, cursor, ...)
  local next_cursor, page = scan(commands.smembers(self, key), cursor, { ... })
  return { next_cursor, page }
end

-- ---- sorted sets ----

function commands.zadd(self, key, ...)
  local arguments, options, at = { ... }, {}, 1
  while arguments[at] and arguments[at]:find("^%a") do
    local name = arguments[at]:upper()
    if name ~= "NX" and name ~= "XX" and name ~= "GT" and name ~= "LT" and name ~= "CH" then
      break
    end
    options[name], at = true, at + 1
  end
  local set, added, changed = make(self, key, "zset", {}).value, 0, 0
  for i = at, #arguments, 2 do
    local score, member = number(arguments[i]), arguments[i + 1]
    local old = set[member]
    local is_allowed = not (options.NX and old or options.XX and not old
      or options.GT and old and score <= old or options.LT and old and score >= old)
    if is_allowed then
      if not old then added = added + 1 end
      if old ~= score then changed = changed + 1 end
      set[member] = score
    end
  end
  drop_if_empty(self, key, self.keys[key])
  return options.CH and changed or added
end

function commands.zrem(self, key, ...)
  local found, count = find(self, key, "zset"), 0
  if not found then return 0 end
  for _, member in ipairs({ ... }) do
    if found.value[member] then count = count + 1 end
    found.value[member] = nil
  end
  drop_if_empty(self, key, found)
  return count
end

function commands.zscore(self, key, member)
  local found = find(self, key, "zset")
  local score = found and found.value[member]
  return score and float_text(score) or false
end

-- The members, by their scores.
local function ranked(self, key)
  local found = find(self, key, "zset")
  local list = sorted_keys(found and found.value or {})
  table.sort(list, function(one, other)
    local a, b = found.value[one], found.value[other]
    if a ~= b then return a < b end
    return one < other
  end)
  return list, found and found.value
end

function commands.zcard(self, key) return #(ranked(self, key)) end

local function bound(text)
  local is_open = text:sub(1, 1) == "("
  return number(is_open and text:sub(2) or text), is_open
end

local function in_range(self, key, least, most)
  local from, from_open = bound(least)
  local to, to_open = bound(most)
  local list, scores = ranked(self, key)
  local found = {}
  for _, member in ipairs(list) do
    local score = scores[member]
    if (score > from or score == from and not from_open)
      and (score < to or score == to and not to_open) then found[#found + 1] = member end
  end
  return found, scores
end

local function with_scores(list, scores)
  local result = {}
  for _, member in ipairs(list) do
    result[#result + 1] = member
    result[#result + 1] = float_text(scores[member])
  end
  return result
end

function commands.zrangebyscore(self, key, least, most, ...)
  local list, scores = in_range(self, key, least, most)
  local arguments, at, has_scores = { ... }, 1, false
  while arguments[at] do
    local name = arguments[at]:upper()
    if name == "WITHSCORES" then has_scores = true
    elseif name == "LIMIT" then
      local offset, count = integer(arguments[at + 1]), integer(arguments[at + 2])
      if count < 0 then count = #list end
      list = table.move(list, offset + 1, math.min(#list, offset + count), 1, {})
      at = at + 2
    else unknown("option %s of ZRANGEBYSCORE", name) end
    at = at + 1
  end
  return has_scores and with_scores(list, scores) or list
end

function commands.zrange(self, key, first, last, ...)
  local arguments = { ... }
  if arguments[1] and arguments[1]:upper() == "BYSCORE" then
    return commands.zrangebyscore(self, key, first, last, select(2, ...))
  end
  local list, scores = ranked(self, key)
  first, last = integer(first), integer(last)
  if first < 0 then first = math.max(0, #list + first) end
  if last < 0 then last = #list + last end
  list = table.move(list, first + 1, math.min(#list, last + 1), 1, {})
  if not arguments[1] then return list end
  if arguments[1]:upper() ~= "WITHSCORES" then unknown("option %s of ZRANGE", arguments[1]) end
  return with_scores(list, scores)
end

function commands.zcount(self, key, least, most) return #(in_range(self, key, least, most)) end

function commands.zremrangebyscore(self, key, least, most)
  local list = in_range(self, key, least, most)
  if #list > 0 then commands.zrem(self, key, table.unpack(list)) end
  return #list
end

-- ---- streams ----

-- Entries are { ms, seq, fields }, in the order of their ids.

local function parse_id(text, default_seq)
  local ms, seq = text:match("^(%d+)%-(%d+)$")
  ms = ms or text:match("^(%d+)$")
  if not ms then fail("ERR Invalid stream ID specified as stream command argument") end
  return math.tointeger(tonumber(ms)), seq and math.tointeger(tonumber(seq)) or default_seq
end

local function id_text(entry) return ("%d-%d"):format(entry[1], entry[2]) end

local function is_less(ms, seq, other_ms, other_seq)
  return ms < other_ms or ms == other_ms and seq < other_seq
end

local function trim(stream, arguments, at)
  local kind = arguments[at]:upper()
  at = at + 1
  local approximate = arguments[at] == "~"
  if approximate or arguments[at] == "=" then at = at + 1 end
  local threshold = arguments[at]
  at = at + 1
  if arguments[at] and arguments[at]:upper() == "LIMIT" then at = at + 2 end
  local first, count = 1, #stream.list
  if kind == "MAXLEN" then
    first = math.max(1, count - integer(threshold) + 1)
  else
    local ms, seq = parse_id(threshold, 0)
    while stream.list[first] and is_less(stream.list[first][1], stream.list[first][2], ms, seq) do
      first = first + 1
    end
  end
  -- approximately: whole nodes of a hundred entries only
  if approximate then first = (first - 1) // 100 * 100 + 1 end
  if first > 1 then stream.list = table.move(stream.list, first, count, 1, {}) end
  return first - 1, at
end

function commands.xadd(self, key, ...)
  local arguments, at = { ... }, 1
  local no_make, trimming
  while true do
    local name = arguments[at]:upper()
    if name == "NOMKSTREAM" then
      no_make, at = true, at + 1
    elseif name == "MAXLEN" or name == "MINID" then
      trimming = at
      local _, behind = trim({ list = {} }, arguments, at)
      at = behind
    else
      break
    end
  end
  local found = find(self, key, "stream")
  if not found and no_make then return false end
  local stream = found and found.value or { list = {}, ms = 0, seq = 0, added = 0 }
  local id = arguments[at]
  local ms, seq
  if id == "*" then
    ms = math.max(self.now_us // 1000, stream.ms)
    seq = ms == stream.ms and stream.seq + 1 or 0
  elseif id:find("%-%*$") then
    ms = parse_id(id:sub(1, -3), 0)
    if ms < stream.ms then seq = -1 else seq = ms == stream.ms and stream.seq + 1 or 0 end
  else
    ms, seq = parse_id(id, 0)
  end
  if not is_less(stream.ms, stream.seq, ms, seq) then
    if ms == 0 and seq == 0 then
      fail("ERR The ID specified in XADD must be greater than 0-0")
    end
    fail("ERR The ID specified in XADD is equal or smaller than the target stream top item")
  end
  local fields = table.move(arguments, at + 1, #arguments, 1, {})
  if #fields == 0 or #fields % 2 == 1 then
    fail("ERR wrong number of arguments for 'xadd' command")
  end
  if not found then
    found = { kind = "stream", value = stream }
    self.keys[key] = found
  end
  stream.ms, stream.seq = ms, seq
  stream.list[#stream.list + 1] = { ms, seq, fields }
  if trimming then trim(stream, arguments, trimming) end
  return ("%d-%d"):format(ms, seq)
end

function commands.xtrim(self, key, ...)
  local found = find(self, key, "stream")
  return found and (trim(found.value, { ... }, 1)) or 0
end

function commands.xlen(self, key)
  local found = find(self, key, "stream")
  return found and #found.value.list or 0
end

function commands.xdel(self, key, ...)
  local found, count = find(self, key, "stream"), 0
  if not found then return 0 end
  for _, id in ipairs({ ... }) do
    local ms, seq = parse_id(id, 0)
    for i, entry in ipairs(found.value.list) do
      if entry[1] == ms and entry[2] == seq then
        table.remove(found.value.list, i)
        count = count + 1
        break
      end
    end
  end
  return count
end

function commands.xinfo(self, kind, key)
  if kind:upper() ~= "STREAM" then unknown("XINFO %s", kind) end
  local found = find(self, key, "stream")
  if not found then fail("ERR no such key") end
  local stream = found.value
  local first, last = stream.list[1], stream.list[#stream.list]
  return { "length", #stream.list, "last-generated-id", id_text({ stream.ms, stream.seq }),
    "first-entry", first and { id_text(first), first[3] } or false,
    "last-entry", last and { id_text(last), last[3] } or false }
end

-- Groups themselves are not modelled.
function commands.xgroup(self, what, key, _, _, option)
  local found = find(self, key, "stream")
  if what:upper() == "CREATE" and not found then
    if (option or ""):upper() ~= "MKSTREAM" then
      fail("ERR The XGROUP subcommand requires the key to exist")
    end
    self.keys[key] = { kind = "stream", value = { list = {}, ms = 0, seq = 0, added = 0 } }
  end
  return what:upper() == "CREATE" and { ok = "OK" } or 1
end

function commands.xsetid(self, key, id)
  local found = find(self, key, "stream")
  if not found then fail("ERR no such key") end
  local stream = found.value
  local ms, seq = parse_id(id, 0)
  local last = stream.list[#stream.list]
  if last and is_less(ms, seq, last[1], last[2]) then
    fail("ERR The ID specified in XSETID is smaller than the target stream top item")
  end
  stream.ms, stream.seq = ms, seq
  return { ok = "OK" }
end

local function range_bound(text, is_end)
  if text == "-" then return 0, 0 end
  if text == "+" then return math.maxinteger, math.maxinteger end
  local is_open = text:sub(1, 1) == "("
  local ms, seq = parse_id(is_open and text:sub(2) or text, is_end and math.maxinteger or 0)
  if is_open and is_end then
    if seq == 0 then ms, seq = ms - 1, math.maxinteger else seq = seq - 1 end
  elseif is_open then
    if seq == math.maxinteger then ms, seq = ms + 1, 0 else seq = seq + 1 end
  end
  return ms, seq
end

-- The place of the first entry that is not less.
local function lower_bound(list, ms, seq)
  local low, high = 1, #list + 1
  while low < high do
    local middle = (low + high) // 2
    if is_less(list[middle][1], list[middle][2], ms, seq) then low = middle + 1
    else high = middle end
  end
  return low
end

local function range(self, key, from, to, is_reverse, name, count)
  if name and name:upper() ~= "COUNT" then unknown("option %s of XRANGE", name) end
  local found = find(self, key, "stream")
  if not found then return {} end
  local list, result = found.value.list, {}
  count = count and integer(count) or math.huge
  local from_ms, from_seq = range_bound(from, false)
  local to_ms, to_seq = range_bound(to, true)
  local first = lower_bound(list, from_ms, from_seq)
  local last = lower_bound(list, to_ms, to_seq)
  if not list[last] or list[last][1] ~= to_ms or list[last][2] ~= to_seq then last = last - 1 end
  local from_at, to_at, step = first, last, 1
  if is_reverse then from_at, to_at, step = last, first, -1 end
  for i = from_at, to_at, step do
    if #result >= count then break end
    result[#result + 1] = { id_text(list[i]), list[i][3] }
  end
  return result
end

function commands.xrange(self, key, from, to, ...)
  return range(self, key, from, to, false, ...)
end
function commands.xrevrange(self, key, to, from, ...)
  return range(self, key, from, to, true, ...)
end

-- ---- the rest ----

function commands.time(self)
  return { tostring(self.now_us // 1000000), tostring(self.now_us % 1000000) }
end

function commands.ping(_, text) return text or { ok = "PONG" } end
function commands.echo(_, text) return text end

function commands.spublish(self, channel, payload)
  self.publish(channel, payload)
  return 0
end
commands.publish = commands.spublish

function commands.pubsub(self, name, ...)
  name = name:upper()
  if name ~= "SHARDNUMSUB" and name ~= "NUMSUB" then unknown("PUBSUB %s", name) end
  local list = {}
  for _, channel in ipairs({ ... }) do
    list[#list + 1] = channel
    list[#list + 1] = self.subscribers(channel)
  end
  return list
end

function commands.flushall(self)
  self.keys = {}
  return { ok = "OK" }
end

-- ---- execution ----

-- One command, which may raise { err = }.
local function execute(self, arguments)
  local name = arguments[1]:lower()
  local f = commands[name] or unknown("command %s", name)
  self.commands = self.commands + 1
  return f(self, table.unpack(arguments, 2))
end

--- One command of a client.
---@param arguments string[]
---@return any reply
function Redis:command(arguments)
  local good, result = pcall(execute, self, arguments)
  if good then return result end
  if type(result) == "table" then return result end
  error(result, 0)
end

-- What a script gets of a reply, and what becomes of its result. An array of a script ends at its
-- first nil; numbers are cut to integers.
local function from_script(value)
  if type(value) == "number" then
    return math.tointeger(value) or math.tointeger(value < 0 and math.ceil(value)
      or math.floor(value))
  end
  if value == true then return 1 end
  if value == nil or value == false then return false end
  if type(value) ~= "table" or value.err or value.ok then return value end
  local list = {}
  for i, each in ipairs(value) do list[i] = from_script(each) end
  return list
end

local function script_call(self)
  return function(...)
    local arguments = { ... }
    for i, each in ipairs(arguments) do
      if type(each) == "number" then
        arguments[i] = ("%.17g"):format(each)
        if math.type(each) == "integer" then arguments[i] = tostring(each) end
      elseif type(each) ~= "string" then
        error("Lua redis lib command arguments must be strings or integers", 2)
      end
    end
    return execute(self, arguments)
  end
end

--- Loads a script by a name of the caller's.
---@param name string
---@param text string
function Redis:load(name, text)
  self.scripts[name] = text
end

local LIBRARY <const> = {
  "assert", "error", "ipairs", "next", "pairs", "pcall", "select", "tonumber", "tostring", "type",
  "xpcall", "string", "table", "math",
}

local function environment(self)
  local call = script_call(self)
  local env = { unpack = table.unpack }
  for _, name in ipairs(LIBRARY) do env[name] = _G[name] end
  env.redis = {
    call = call,
    pcall = function(...)
      local good, result = pcall(call, ...)
      if good then return result end
      if type(result) == "table" then return result end
      error(result, 0)
    end,
    error_reply = function(text) return { err = text } end,
    status_reply = function(text) return { ok = text } end,
    log = function() end, LOG_WARNING = 3, LOG_NOTICE = 2,
  }
  return setmetatable(env, {
    __index = function(_, name)
      if name == "KEYS" or name == "ARGV" then return rawget(env, name) end
      error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
    end,
    __newindex = function(t, name, value)
      if name ~= "KEYS" and name ~= "ARGV" then
        error("Script attempted to set the global variable " .. tostring(name), 2)
      end
      rawset(t, name, value)
    end,
  })
end

--- Runs a script. An error in it is a reply, unless it is the model's lack.
---@param name string
---@param key string
---@param arguments string[]
---@return any reply
function Redis:call(name, key, arguments)
  local chunk = self.chunks and self.chunks[name]
  if not chunk then
    self.env = self.env or environment(self)
    local text = self.scripts[name] or error("no script " .. name, 0)
    chunk = assert(load(text, "=" .. name .. ".lua", "t", self.env))
    self.chunks = self.chunks or {}
    self.chunks[name] = chunk
  end
  self.env.KEYS, self.env.ARGV = { key }, arguments
  local good, result = pcall(chunk)
  if good then return from_script(result) end
  if type(result) == "table" then return { err = result.err } end
  if result:find("the model of Redis has no", 1, true) then error(result, 0) end
  return { err = "ERR " .. result }
end

--- Ends this life of the server. What it had comes back with the next one, or does not.
---@param forgets boolean
function Redis:restart(forgets)
  if forgets then self.keys = {} end
end

--- A copy of its keys, as a replica has them.
---@return table
function Redis:copy_keys()
  local function copy(value)
    if type(value) ~= "table" then return value end
    local result = {}
    for key, each in pairs(value) do result[key] = copy(each) end
    return result
  end
  return copy(self.keys)
end

return redis_model
