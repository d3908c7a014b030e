-- shared_cluster.lua -- the stores of tw.shared that all machines of a cluster see: what
-- tw.shared(name, { cluster = true }) does with keys and values.
--
-- Each function has the arguments and results of the one of tidewire.core with its name, and waits
-- for Redis, where src/cluster/scripts/shared.lua carries it out in one step. A store is a table
-- with its name and limit. Where Redis cannot be asked, functions return nil and why.

local async = require "tidewire.async"
local cluster = require "tidewire.cluster"

local remote = {}

--- Bytes of a string at most. A larger value would keep Redis from all others for too long.
remote.longest = 1 << 23

-- ---- values as bytes: src/cluster/scripts/shared.lua says how ----

local function encode(value)
  local kind = math.type(value) or type(value)
  if kind == "integer" then
    return ("%d"):format(value)
  elseif kind == "float" then
    return string.pack(">c1d", "f", value)
  elseif kind == "boolean" then
    return value and "t" or "x"
  elseif kind == "nil" then
    return ""
  end
  return "s" .. value
end

local function decode(text)
  local kind = text:sub(1, 1)
  if kind == "s" then
    return text:sub(2)
  elseif kind == "f" then
    return (string.unpack(">d", text, 2))
  elseif kind == "t" or kind == "x" then
    return kind == "t"
  end
  return math.tointeger(text)
end

--- A time to live in milliseconds, as text.
local function milliseconds(ttl)
  return ttl and ("%d"):format(math.ceil(ttl * 1000)) or "0"
end

-- ---- texts as bytes, in the form of src/base/packing.h ----

local function pack(texts)
  local parts = {}
  for _, text in ipairs(texts) do
    local rest = #text
    while rest >= 0x80 do
      parts[#parts + 1] = string.char(rest & 0x7f | 0x80)
      rest = rest >> 7
    end
    parts[#parts + 1] = string.char(rest)
    parts[#parts + 1] = text
  end
  return table.concat(parts)
end

local function unpack_texts(bytes)
  local texts, at = {}, 1
  while at <= #bytes do
    local length, shift = 0, 0
    repeat
      local byte = bytes:byte(at)
      length, shift, at = length | (byte & 0x7f) << shift, shift + 7, at + 1
    until byte < 0x80
    texts[#texts + 1] = bytes:sub(at, at + length - 1)
    at = at + length
  end
  return texts
end

-- ---- asking Redis ----

--- Carries out an operation. Returns the texts of the answer; or nil and why there is none.
---@param what string  the method, for errors
---@param store tidewire.ClusterStore
---@param operation string
---@param ... string
---@return string[]|nil answer
---@return string|nil problem
local function ask(what, store, operation, ...)
  async.this_task(what) -- throws where nothing can wait
  local status, body = cluster.request("shared", pack { store.name, operation, ... })
  if status == "ok" then
    return unpack_texts(body)
  elseif status == "refused" then
    return nil, "cluster refused: " .. body
  end
  return nil, status == "timeout" and "cluster timed out" or "cluster is unreachable"
end

--- The answer to a change.
local function result_of(answer, problem)
  if not answer then
    return nil, problem
  elseif answer[1] == "full" then
    return nil, "full"
  end
  return answer[1] == "ok"
end

---@class tidewire.ClusterStore
---@field name string
---@field max_bytes integer

---@param store tidewire.ClusterStore
---@param key string
function remote.get(store, key)
  local answer, problem = ask("store:get", store, "get", key)
  if not answer then
    return nil, problem
  end
  return answer[2] and decode(answer[2])
end

function remote.set(store, key, value, ttl)
  return result_of(ask("store:set", store, "set", key, encode(value),
    ("%d"):format(store.max_bytes), milliseconds(ttl)))
end

function remote.exchange(store, key, expected, value, ttl)
  return result_of(ask("store:update", store, "exchange", key, encode(expected), encode(value),
    ("%d"):format(store.max_bytes), milliseconds(ttl)))
end

function remote.add(store, key, value, ttl)
  return result_of(ask("store:add", store, "exchange", key, "", encode(value),
    ("%d"):format(store.max_bytes), milliseconds(ttl)))
end

local PROBLEMS <const> = { full = "full", overflow = "overflow", ["no number"] = "not a number" }

function remote.incr(store, key, by, initial, ttl)
  local answer, problem = ask("store:incr", store, "incr", key, encode(by), encode(initial),
    ("%d"):format(store.max_bytes), milliseconds(ttl))
  if not answer then
    return nil, problem
  elseif PROBLEMS[answer[1]] then
    return nil, PROBLEMS[answer[1]]
  end
  return decode(answer[2])
end

--- Many hooks of many machines may change one key: each waits for a random time, which grows, so
--- that all come in turn.
---@param try integer
function remote.give_way(try)
  async.sleep(math.random() * 0.001 * try)
end

function remote.delete(store, key)
  return result_of(ask("store:delete", store, "delete", key))
end

function remote.expire(store, key, ttl)
  return result_of(ask("store:expire", store, "expire", key, milliseconds(ttl)))
end

--- Reads all entries part by part, so that Redis serves others meanwhile.
local function each(what, store, operation, step, max, f)
  local cursor, seen, count = "0", {}, 0
  repeat
    local answer, problem = ask(what, store, operation, cursor)
    if not answer then
      return nil, problem
    end
    cursor = answer[2]
    for i = 3, #answer, step do
      local key = answer[i]
      if not seen[key] and count < (max or math.huge) then
        seen[key], count = true, count + 1
        f(key, answer[i + 1])
      end
    end
  until cursor == "0" or max and count >= max
  return true
end

function remote.keys(store, max)
  local keys = {}
  local ok, problem = each("store:keys", store, "keys", 1, max, function(key)
    keys[#keys + 1] = key
  end)
  return ok and keys, problem
end

function remote.entries(store, max)
  local entries = {}
  local ok, problem = each("store:entries", store, "entries", 2, max, function(key, value)
    entries[key] = decode(value)
  end)
  return ok and entries, problem
end

return remote
