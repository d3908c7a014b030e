-- room.lua -- `tw.room`, `tw.broadcast`, `tw.send`, `tw.close`: sends to other connections.
--
-- A room is a name and need not be created: the object here holds only the name. A value is encoded
-- once for each codec of its receivers (mostly one), and framed once. The set of codecs may change
-- until C sends, because connections of other workers join at any moment. Connections whose codec
-- only another worker's code has, while new code is activated, get nothing. Keeps nothing.

local cluster = require "tidewire.cluster"
local codecs = require "tidewire.codecs"
local Conn = require "tidewire.conn"
local core = require "tidewire.core"
local misuse = require "tidewire.base.misuse"
local missing = require "tidewire.base.missing"
local option_types = require "tidewire.load.option_types"
local presence = require "tidewire.presence"
local registry = require "tidewire.registry"
local room_memory = require "tidewire.room_memory"
local room_names = require "tidewire.room_names"
local send_options = require "tidewire.send_options"

---@class tidewire.Room
---@field name string
local Room = {}
Room.__index = Room
Room.__name = "tidewire.Room"
Room.__kind = "a room"
Room.__instead = "send its name, room.name"
missing.watch_class("room", Room, { name = true })

--- Each tw.room returns a new object, so fields that scripts set would be lost.
function Room.__newindex(_, key)
  error(("a room has no fields of the script's (%s): keep such things in a table of your own, by "
    .. "the room's name"):format(option_types.describe(key)), 2)
end

function Room:__tostring()
  return ("tidewire.Room %q"):format(self.name)
end

function Room.__eq(one, other)
  return one.name == other.name
end

local room = {}

--- The room of a name. A room without members costs nothing.
---@param name string
---@return tidewire.Room
function room.get(name)
  if type(name) ~= "string" or name == "" then
    error(("tw.room: a name is needed, got %s")
      :format(name == "" and '""' or option_types.kind(name)), 2)
  end
  local problem = room_names.problem(name)
  if problem then
    error("tw.room: " .. problem, 2)
  end
  return setmetatable({ name = name }, Room)
end

local NOT_UTF8 <const> =
  'text must be valid UTF-8; for other bytes give the endpoint the codec "binary"'

--- The encoding that a codec of the script's own, which several endpoints share, made for another
--- endpoint.
local function encoded_before(list, codec)
  for i = 1, #list, 3 do
    if registry.codecs[list[i]] == codec then
      return list[i + 1], list[i + 2]
    end
  end
end

--- Adds the encodings of the value by these codecs. Throws, at the script's line, where a codec
--- refuses the value. `wanted_kind`: in place of the codecs' kinds.
local function add_encodings(list, what, value, codec_numbers, checks_utf8, wanted_kind)
  for _, number in ipairs(codec_numbers) do
    local codec, payload, kind = registry.codecs[number], nil, nil
    if type(codec) == "table" then
      payload, kind = encoded_before(list, codec)
    end
    if codec and not payload then
      payload, kind = codecs.encode(codec, value)
      if payload and wanted_kind then
        kind = codecs.kind(codec, kind, wanted_kind)
      end
      -- of one, C sees it
      if payload and kind == "text" and (checks_utf8 or #codec_numbers > 1)
        and not utf8.len(payload) then
        payload, kind = nil, NOT_UTF8
      end
      if not payload then
        error(("%s: %s"):format(what, kind), 4)
      end
    end
    local last = #list
    list[last + 1], list[last + 2], list[last + 3] = number, payload or false, kind or false
  end
end

--- Adds the encodings of a value that a room is to remember, or that is for other machines as well,
--- by the codecs that can encode it.
local function add_remembered(list, what, value, codec_numbers, wanted_kind)
  local has_codec = {}
  for i = 1, #list, 3 do
    has_codec[list[i]] = true
  end
  for _, number in ipairs(codec_numbers) do
    if not has_codec[number] then
      pcall(add_encodings, list, what, value, { number }, true, wanted_kind)
    end
  end
end

--- Sends the value to its receivers, by their codecs. Encodes for all codecs before anything is
--- sent: a value that one codec refuses reaches no connection. Returns the number of connections
--- for which it was queued, and its offset in the room's memory.
local function publish(what, value, codec_numbers, remembered, room_name, endpoint, except, key,
                       stays_plain, wanted_kind)
  local list = {}
  while true do
    add_encodings(list, what, value, codec_numbers, false, wanted_kind)
    if remembered then
      add_remembered(list, what, value, remembered, wanted_kind)
      if #list == 0 then
        add_encodings(list, what, value, remembered, false, wanted_kind) -- throws
      end
      remembered = nil
    end
    local delivered, lacking =
      core.publish(room_name, endpoint, except, key, stays_plain, table.unpack(list))
    if delivered then
      return delivered, lacking
    elseif delivered == nil then
      error(("%s: %s"):format(what, NOT_UTF8), 3)
    end
    codec_numbers = lacking
  end
end

--- Throws unless it is a room: methods are called with a colon.
local function check_room(value, method)
  if getmetatable(value) ~= Room then
    error(("room:%s: call it with a colon, room:%s(…)"):format(method, method), 3)
  end
end

--- For users.lua.
room.publish = publish

---@class tidewire.RoomBroadcastOptions
---@field except tidewire.Conn|string|nil
---@field key string|nil
---@field compress boolean|nil

--- Sends a value to all members of the room. Connections that joined before get it, later ones do
--- not.
---@param value any
---@param options tidewire.Conn|tidewire.RoomBroadcastOptions|nil
---  `except`: the connection to leave out, or its id; `key`: with slow_client = "conflate", the
---  message replaces a waiting one with the same key; `compress = false`: it stays uncompressed
---@return integer delivered   the number of connections for which it was queued
---@return integer|nil offset   in the room's memory; nil: it has none
function Room:broadcast(value, options)
  check_room(self, "broadcast")
  local except, key, _, stays_plain =
    send_options.of_broadcast("room:broadcast", options, 2, value)
  local codec_numbers, remembered = core.room_codecs(self.name)
  local delivered, offset = publish("room:broadcast", value, codec_numbers, remembered, self.name,
    nil, except, key, stays_plain)
  if offset then
    return delivered, offset -- no tail call: errors count the frames
  end
  return delivered
end

--- What the room remembers, oldest first; an empty list where it has no memory. With the option
--- `cluster` it waits until this machine knows what the room remembers, as does room:offset.
---@param options { after: integer?, limit: integer?, endpoint: string?, retained: boolean? }?
---  `after`: the messages behind this offset; `limit`: at most so many, the first ones behind
---  `after`, without it the last ones; `endpoint`: as its clients get them; `retained`:
---  the last message of each key instead of the history
---@return tidewire.Remembered[]
function Room:history(options)
  check_room(self, "history")
  cluster.sync(self.name)
  cluster.sync(self.name)
  local list = misuse.blame_caller(room_memory.history, self.name, options)
  return list -- no tail call, as above
end

--- The room's epoch and the offset of its last message; nil where it has no memory.
---@return string|nil epoch
---@return integer|nil offset  0 before the first message
function Room:offset()
  check_room(self, "offset")
  cluster.sync(self.name)
  cluster.sync(self.name)
  return core.room_position(self.name)
end

--- Forgets what the room remembers, and begins a new epoch; or forgets the message that is retained
--- for one key.
---@param options { key: string }|nil
function Room:clear_history(options)
  check_room(self, "clear_history")
  misuse.blame_caller(room_memory.clear, self.name, options)
end

--- The number of members, over all workers and machines.
---@return integer
function Room:size()
  check_room(self, "size")
  cluster.sync(self.name)
  return core.room_size(self.name)
end

--- The members of the room, over all workers and machines, in no order.
---@return tidewire.Member[]
function Room:members()
  check_room(self, "members")
  cluster.sync(self.name)
  return presence.members(self.name)
end

--- The names of the users with a connection in the room, over all workers and machines, sorted.
---@return string[]
function Room:users()
  check_room(self, "users")
  cluster.sync(self.name)
  return presence.users(self.name)
end

--- Calls f("join" or "leave", member) for each connection that joins or leaves from now on, each
--- call in a coroutine of its own: f may wait.
---@param f (fun(event: "join"|"leave", member: tidewire.Member))|tidewire.Watchers
---@return tidewire.Watch
function Room:watch(f)
  check_room(self, "watch")
  cluster.sync(self.name)
  local watch = misuse.blame_caller(presence.watch, self.name, f)
  return watch -- no tail call, as above
end

--- The codecs' numbers of the app's endpoints, or of one of them.
local function codecs_of(only)
  local seen, list = {}, {}
  for _, endpoint in ipairs(registry.endpoints) do
    local number = endpoint.codec
    if not seen[number] and (not only or only == endpoint) then
      seen[number] = true
      list[#list + 1] = number
    end
  end
  return list
end

--- The message about a path that no endpoint has.
local function no_endpoint(path)
  if type(path) ~= "string" then
    return ("tw.broadcast: endpoint must be the path of one, got %s"):format(type(path))
  end
  return ('tw.broadcast: there is no endpoint %s%s')
    :format(option_types.quote(path), registry.hint(path))
end

---@class tidewire.BroadcastOptions
---@field endpoint string|nil              only to connections of this endpoint, by its path
---@field except tidewire.Conn|string|nil  as of room:broadcast
---@field key string|nil                   the same
---@field compress boolean|nil             the same

--- Sends a value to all connections.
---@param value any
---@param options tidewire.Conn|tidewire.BroadcastOptions|nil
---@return integer delivered
function room.broadcast(value, options)
  local except, key, path, stays_plain =
    send_options.of_broadcast("tw.broadcast", options, 2, value)
  local endpoint
  if path ~= nil then
    endpoint = registry.endpoint(path) or error(no_endpoint(path), 2)
  end
  local number = endpoint and endpoint.number
  local delivered = publish("tw.broadcast", value, codecs_of(endpoint), nil, nil, number, except,
    key, stays_plain)
  return delivered -- no tail call, as above
end

--- Sends a value to a connection of another machine, in the encoding of its endpoint there.
local function send_away(conn_id, value, kind, key, stays_plain)
  local list, codec_numbers = {}, codecs_of()
  add_remembered(list, "tw.send", value, codec_numbers, kind)
  if #list == 0 then
    add_encodings(list, "tw.send", value, codec_numbers, false, kind) -- throws
  end
  return core.send_away(conn_id, key, stays_plain, table.unpack(list))
end

--- Sends a value to one connection of any worker and machine, through the codec of its endpoint.
---@param conn_id string  its `conn.id`
---@param value any
---@param options string|{ kind: string|nil, key: string|nil, compress: boolean|nil }|nil  as of
---  conn:send
---@return true|nil ok
---@return string|nil message  "closed" when it is gone; "backlog" when its queue or its worker's
---  queue is full; "refused": it has a codec of new code, which this worker does not have yet;
---  "unreachable": it is on another machine, and no Redis server can be reached
function room.send(conn_id, value, options)
  if type(conn_id) ~= "string" then
    error(("tw.send: a conn.id is needed, got %s"):format(option_types.kind(conn_id)), 2)
  end
  local kind, key, stays_plain = send_options.of_send("tw.send", options, 2)
  local integer = core.id_number(conn_id)
  if not integer and cluster.is_away(conn_id) then
    local ok, message = send_away(conn_id, value, kind, key, stays_plain)
    if ok then
      return true
    end
    return nil, message
  end
  local number = integer and core.codec_of(integer)
  local codec = registry.codecs[number]
  if not codec then
    return nil, number and "refused" or "closed"
  end
  local payload, own_kind = codecs.encode(codec, value)
  if not payload then
    error(("tw.send: %s"):format(own_kind), 2)
  end
  local ok, message = core.send_anywhere(integer, number, payload,
    codecs.kind(codec, own_kind, kind), key, stays_plain)
  if ok then
    return true
  elseif message == "utf8" then
    error(("tw.send: %s"):format(NOT_UTF8), 2)
  end
  return nil, message
end

--- Closes one connection of any worker and machine, after the messages that are queued for it.
---@param conn_id string      its `conn.id`
---@param code integer|nil    as of conn:close
---@param reason string|nil
---@return true|nil ok
---@return string|nil message  "closed" when it is closing or closed; "unreachable", as of tw.send
function room.close(conn_id, code, reason)
  if type(conn_id) ~= "string" then
    error(("tw.close: a conn.id is needed, got %s"):format(option_types.kind(conn_id)), 2)
  end
  code, reason = Conn.check_close("tw.close", code, reason)
  local integer = core.id_number(conn_id)
  if integer and core.close_anywhere(integer, code, reason) then
    return true
  elseif not integer and cluster.is_away(conn_id) then
    return core.close_away(conn_id, code, reason)
  end
  return nil, "closed"
end

return room
