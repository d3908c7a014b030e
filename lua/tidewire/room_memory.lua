-- room_memory.lua -- rooms with a memory: what conn:join replays, and what scripts read.
--
-- C keeps the messages of all workers, framed (core/bus/room_memory.c). Functions here check what
-- scripts give, and throw a text without a place for misuse. Offsets and epochs often come from
-- clients: any number or text is one, and an offset that cannot be is one that cannot be recovered.
-- Keeps nothing.

local core = require "tidewire.core"
local misuse = require "tidewire.base.misuse"
local option_types = require "tidewire.load.option_types"
local registry = require "tidewire.registry"

local room_memory = {}

---@class tidewire.Replay
---@field history integer|nil      the last so many messages; with `after`: at most so many
---@field after number|string|nil  the messages behind this offset
---@field epoch string|nil         … of this life of the room
---@field retained boolean|nil     the last message of each key

--- Where a connection is in a room's memory.
---@class tidewire.RoomPosition
---@field offset integer      of the last message that it has got, or that was not for it
---@field epoch string|nil    of the room; nil: it has no memory
---@field recovered boolean   it has got all messages behind `after`
---@field replayed integer    how many messages it has got

---@class tidewire.Remembered
---@field offset integer
---@field time number            seconds since 1970
---@field payload string         encoded, as a client gets it
---@field kind "text"|"binary"
---@field key string|nil

local MOST <const> = (1 << 32) - 1

--- An offset from anywhere; -1: it is none.
local function offset_of(what, value)
  if type(value) ~= "number" and type(value) ~= "string" then
    misuse.throw("%safter must be an offset, got %s", what, option_types.kind(value))
  end
  local number = tonumber(value)
  local offset = number and math.tointeger(number)
  return offset and offset >= 0 and offset or -1
end

local function count_of(what, name, value)
  local count = type(value) == "number" and math.tointeger(value)
  if not count or count < 0 then
    misuse.throw("%s%s must be a whole number, 0 or more, got %s", what, name,
      option_types.describe(value))
  end
  return math.min(count, MOST)
end

local function epoch_of(what, value)
  if type(value) ~= "string" and type(value) ~= "number" then
    misuse.throw("%sepoch must be a text, got %s", what, option_types.kind(value))
  end
  return tostring(value)
end

local function flag_of(what, name, value)
  if value ~= nil and type(value) ~= "boolean" then
    misuse.throw("%s%s must be true or false, got %s", what, name, option_types.describe(value))
  end
  return value
end

local JOIN <const> = { "after", "epoch", "history", "retained" }
local HISTORY <const> = { "after", "endpoint", "limit", "retained" }

local function check_table(what, options, names)
  if type(options) ~= "table" or getmetatable(options) then
    misuse.throw("%soptions must be a table, got %s", what, option_types.kind(options))
  end
  misuse.check_names(options, names, what)
end

--- Joins a room after a replay of what it remembers.
---@param conn integer
---@param room string
---@param info string|nil  JSON
---@param options tidewire.Replay
---@return true|nil ok
---@return tidewire.RoomPosition|string position_or_message
function room_memory.join(conn, room, info, options)
  local what = "conn:join: "
  check_table(what, options, JOIN)
  local history, after, epoch = options.history, options.after, options.epoch
  if epoch ~= nil and after == nil then
    misuse.throw("%sepoch needs after, the offset in it", what)
  end
  local offset, of_epoch, recovered, replayed = core.join_replay(conn, room, info,
    history ~= nil and count_of(what, "history", history) or nil,
    after ~= nil and offset_of(what, after) or nil,
    epoch ~= nil and epoch_of(what, epoch) or nil,
    flag_of(what, "retained", options.retained) or false)
  if not offset then
    return nil, "closed"
  end
  return true, { offset = offset, epoch = of_epoch, recovered = recovered, replayed = replayed }
end

--- The codec of an endpoint, by its path.
local function codec_of(what, path)
  local endpoint = type(path) == "string" and registry.endpoint(path)
  if not endpoint then
    misuse.throw("%sthere is no endpoint %s%s", what, option_types.describe(path),
      registry.hint(path))
  end
  return endpoint.codec
end

--- What a room remembers, oldest first.
---@param room string
---@param options table|nil
---@return tidewire.Remembered[]
function room_memory.history(room, options)
  local what = "room:history: "
  options = options or {}
  check_table(what, options, HISTORY)
  local after = options.after
  return core.room_history(room, flag_of(what, "retained", options.retained) or false,
    options.endpoint ~= nil and codec_of(what, options.endpoint) or nil,
    after ~= nil and offset_of(what, after) or nil,
    options.limit ~= nil and count_of(what, "limit", options.limit) or MOST)
end

--- Forgets what a room remembers, or the message that is retained for a key.
---@param room string
---@param options { key: string }|nil
function room_memory.clear(room, options)
  local what = "room:clear_history: "
  if options == nil then
    return core.room_forget(room)
  end
  check_table(what, options, { "key" })
  if type(options.key) ~= "string" then
    misuse.throw("%skey must be a string, got %s", what, option_types.kind(options.key))
  end
  core.room_forget(room, options.key)
end

return room_memory
