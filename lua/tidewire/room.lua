-- room.lua -- `tw.room`, `tw.broadcast`, `tw.send`: speaking to others.
--
-- A room is a name, not a thing to create: the object here holds nothing but the name. A value is encoded once for
-- each codec that its receivers have (mostly one), and framed once. Which codecs these are may
-- change until C sends: other workers take over new code at any moment. Keeps nothing.

local codecs = require "tidewire.codecs"
local Conn = require "tidewire.conn"
local core = require "tidewire.core"
local json = require "tidewire.json"
local registry = require "tidewire.registry"
local scope = require "tidewire.scope"

---@class tidewire.Room
---@field name string
local Room = {}
Room.__index = Room
Room.__name = "tidewire.Room"

function Room:__tostring()
  return ("tidewire.Room %q"):format(self.name)
end

function Room.__eq(one, other)
  return one.name == other.name
end

local room = {}

--- The room of a name. Empty rooms cost nothing.
---@param name string
---@return tidewire.Room
function room.get(name)
  if type(name) ~= "string" or name == "" then
    error(("tw.room: a name is needed, got %s"):format(type(name) == "string" and '""' or type(name)), 2)
  end
  return setmetatable({ name = name }, Room)
end

local known_options = {
  ["room:broadcast"] = { except = true, key = true },
  ["tw.broadcast"] = { except = true, key = true, endpoint = true },
}

--- The options of a broadcast: a table, or just the connection to leave out.
local function read_options(what, options)
  if options == nil then
    return {}
  elseif Conn.is(options) then
    return { except = Conn.integer(options) }
  elseif type(options) ~= "table" then
    error(("%s: options must be a table or a connection, got %s"):format(what, type(options)), 3)
  end
  for key in pairs(options) do
    if not known_options[what][key] then
      error(('%s: unknown option "%s"; there are "except", "key" and, for tw.broadcast, "endpoint"')
        :format(what, tostring(key)), 3)
    end
  end
  local except = options.except
  if except ~= nil and not Conn.is(except) then
    error(("%s: except must be a connection, got %s"):format(what, type(except)), 3)
  end
  if options.key ~= nil and (type(options.key) ~= "string" or options.key == "") then
    error(("%s: key must be a string, got %s"):format(what, options.key == "" and '""' or type(options.key)), 3)
  end
  return { except = except and Conn.integer(except), endpoint = options.endpoint, key = options.key }
end

local NOT_UTF8 <const> = 'text must be valid UTF-8; for other bytes give the endpoint the codec "binary"'

--- The value as a codec has it that only other workers' code knows, newer than this worker's. What that refuses is no
--- mistake of the script that runs here.
local function encode_ahead(codec, value)
  local ok, payload, kind = pcall(codecs.encode, codec, value)
  if not ok then
    return nil, payload
  elseif payload and kind == "text" and not utf8.len(payload) then
    return nil, NOT_UTF8
  end
  return payload, kind
end

local function log_left_out(what, problem)
  core.log(2, "left_out", nil, "why", ("%s: %s; other workers have new code already"):format(what, tostring(problem)))
end

--- Adds the value as each of these codecs has it. Throws for one of the codecs of this code, at the script's line.
local function add_encodings(list, what, value, codec_numbers)
  for _, codec in ipairs(codec_numbers) do
    local is_own = registry.codecs[codec]
    local payload, kind = (is_own and codecs.encode or encode_ahead)(codec, value)
    if payload and kind == "text" and #codec_numbers > 1 and not utf8.len(payload) then -- of one, C sees it
      payload, kind = nil, NOT_UTF8
    end
    if not payload and is_own then
      error(("%s: %s"):format(what, kind), 4)
    elseif not payload then
      log_left_out(what, kind)
    end
    local last = #list
    list[last + 1], list[last + 2], list[last + 3] = codec, payload or false, payload and kind or false
  end
end

--- Sends the value to those who are meant, by the codecs that they have. All is encoded before anything is sent: a
--- value that one codec refuses reaches nobody. Returns to how many connections it was queued.
local function publish(what, value, room_name, endpoint, options, codec_numbers)
  local list = {}
  while true do
    add_encodings(list, what, value, codec_numbers)
    local delivered, missing = core.publish(room_name, endpoint, options.except, options.key, table.unpack(list))
    if delivered then
      return delivered
    elseif delivered == nil then
      error(("%s: %s"):format(what, NOT_UTF8), 3)
    end
    codec_numbers = missing
  end
end

--- Throws unless it is a room: methods are called with a colon.
local function check_room(value, method)
  if getmetatable(value) ~= Room then
    error(("room:%s: call it with a colon, room:%s(…)"):format(method, method), 3)
  end
end

--- Sends a value to everyone in the room. Who joined before gets it, who joins later does not.
---@param value any
---@param options tidewire.Conn|{ except: tidewire.Conn|nil, key: string|nil }|nil  whom to leave out; where
---  slow_client = "conflate", a message with the same key that still waits is replaced
---@return integer delivered  to how many connections it was queued
function Room:broadcast(value, options)
  check_room(self, "broadcast")
  local read = read_options("room:broadcast", options)
  local delivered = publish("room:broadcast", value, self.name, nil, read, core.room_codecs(self.name))
  return delivered -- no tail call: errors count the frames
end

--- How many connections are in the room, over all workers.
---@return integer
function Room:size()
  check_room(self, "size")
  return core.room_size(self.name)
end

---@class tidewire.Member
---@field id string    conn.id
---@field name string  conn.name
---@field info any     what conn:join was given; nil if nothing

local function new_member(integer, json_name, info)
  return { id = core.id_text(integer), name = json.decode(json_name), info = info and json.decode(info) or nil }
end

--- Who is in the room, over all workers, in no order.
---@return tidewire.Member[]
function Room:members()
  check_room(self, "members")
  local list, members = core.room_members(self.name), {}
  for i = 1, #list, 3 do
    members[#members + 1] = new_member(list[i], list[i + 1], list[i + 2] or nil)
  end
  return members
end

---@class tidewire.Watch
---@field room string
---@field f fun(event: "join"|"leave", member: tidewire.Member)
local Watch = {}
Watch.__index = Watch
Watch.__name = "tidewire.Watch"

--- Who watches a room, by its name.
---@type table<string, tidewire.Watch[]>
local watches = {}

--- Calls f("join" or "leave", member) for everyone who joins or leaves from now on, each on its own: f may wait.
---@param f fun(event: "join"|"leave", member: tidewire.Member)
---@return tidewire.Watch
function Room:watch(f)
  check_room(self, "watch")
  if type(f) ~= "function" then
    error(("room:watch: a function is needed, got %s"):format(type(f)), 2)
  end
  local watch = setmetatable({ room = self.name, f = f }, Watch)
  if not watches[self.name] then
    watches[self.name] = {}
    core.watch(self.name, true)
  end
  table.insert(watches[self.name], watch)
  scope.add(watch)
  return watch
end

--- Ends it.
---@return boolean was_watching
function Watch:cancel()
  local list = watches[self.room] or {}
  for i, watch in ipairs(list) do
    if watch == self then
      table.remove(list, i)
      scope.remove(self)
      if #list == 0 then
        watches[self.room] = nil
        core.watch(self.room, false)
      end
      return true
    end
  end
  return false
end

--- C's event: somebody joined or left a room that is watched.
function room.moved(integer, name, joined, json_name, info)
  for _, watch in ipairs({ table.unpack(watches[name] or {}) }) do
    core.set_scope(watch.scope)
    core.spawn(watch.f, joined and "join" or "leave", new_member(integer, json_name, info))
  end
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

--- Sends a value to everyone.
---@param value any
---@param options tidewire.Conn|{ endpoint: string|nil, except: tidewire.Conn|nil, key: string|nil }|nil  only those of
---  one endpoint, by its path; the others as of room:broadcast
---@return integer delivered
function room.broadcast(value, options)
  local read = read_options("tw.broadcast", options)
  local endpoint = read.endpoint ~= nil and registry.endpoint(read.endpoint) or nil
  if read.endpoint ~= nil and not endpoint then
    error(('tw.broadcast: there is no endpoint "%s"'):format(tostring(read.endpoint)), 2)
  end
  local delivered = publish("tw.broadcast", value, nil, endpoint and endpoint.number, read, codecs_of(endpoint))
  return delivered -- no tail call, as above
end

--- What conn:send takes as its last argument: the kind, and the key.
local function read_send_options(options)
  if type(options) ~= "table" then
    options = { kind = options }
  end
  if options.kind ~= nil and options.kind ~= "text" and options.kind ~= "binary" then
    error(('tw.send: kind must be "text" or "binary", got %s'):format(tostring(options.kind)), 4)
  end
  if options.key ~= nil and type(options.key) ~= "string" then
    error(("tw.send: key must be a string, got %s"):format(type(options.key)), 4)
  end
  return options.kind, options.key ~= "" and options.key or nil
end

--- To a connection of whichever worker. `codec` as the answer: it has another one by now.
local function send_to(integer, codec, value, options)
  local kind, key = read_send_options(options)
  local is_own = registry.codecs[codec]
  local payload, own_kind = (is_own and codecs.encode or encode_ahead)(codec, value)
  if not payload and is_own then
    error(("tw.send: %s"):format(own_kind), 3)
  elseif not payload then
    log_left_out("tw.send", own_kind)
    return nil, "refused"
  end
  local ok, message = core.send_anywhere(integer, codec, payload, codecs.kind(codec, own_kind, kind), key)
  if message == "utf8" then
    error(("tw.send: %s"):format(NOT_UTF8), 3)
  end
  return ok, message
end

--- Sends a value to one connection, of whichever worker, through the codec of its endpoint.
---@param conn_id string  its `conn.id`
---@param value any
---@param options string|{ kind: string|nil, key: string|nil }|nil  as of conn:send
---@return true|nil ok
---@return string|nil message  "closed" when it is gone; "backlog", of a connection of this worker; "refused", by the
---  codec that it has in new code, which its worker has and this one not yet
function room.send(conn_id, value, options)
  if type(conn_id) ~= "string" then
    error(("tw.send: a conn.id is needed, got %s"):format(type(conn_id)), 2)
  end
  local integer = core.id_number(conn_id)
  local ok, message
  repeat
    local codec = integer and core.codec_of(integer)
    if not codec then
      return nil, "closed"
    end
    ok, message = send_to(integer, codec, value, options) -- no tail call: errors count the frames
  until message ~= "codec"
  if ok then
    return true
  end
  return ok, message
end

return room
