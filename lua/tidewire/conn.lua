-- conn.lua -- the connection as scripts see it.
--
-- A plain table around the integer that C knows. The integer, the endpoint, the request and the
-- library's other fields stand under keys that no script can write by mistake. `send` is a field,
-- because scripts call it most; other methods come from the metatable. Every other field is the
-- script's own, and `pairs` shows only those.

local async = require "tidewire.async"
local conn_keys = require "tidewire.conn_keys"
local conn_names = require "tidewire.base.conn_names"
local cluster = require "tidewire.cluster"
local core = require "tidewire.core"
local errors = require "tidewire.errors"
local json = require "tidewire.json"
local missing = require "tidewire.base.missing"
local misuse = require "tidewire.base.misuse"
local option_types = require "tidewire.load.option_types"
local Request = require "tidewire.http.request"
local requests = require "tidewire.requests"
local room_memory = require "tidewire.room_memory"
local room_names = require "tidewire.room_names"

-- Keys that no script writes by mistake.
local ID <const>, ENDPOINT <const> = conn_keys.ID, conn_keys.ENDPOINT
local REQUEST <const>, SUBPROTOCOL <const> = "\0request", "\0subprotocol"
local USER <const> = "\0user"

---@alias tidewire.SendOptions string|{ kind: string?, key: string? }

---@class tidewire.Conn
---@field id string                      24 letters and digits; no other connection ever gets it
---@field name string                    the endpoint's `name`, its path by default
---@field path string                    of the request
---@field params table<string, string>   what the endpoint's pattern matched
---@field query table<string, string>
---@field remote_address string          an IP address, or "unix"
---@field secure boolean                 true on TLS
---@field subprotocol string|nil         the chosen subprotocol
---@field user any                       with the option `user`: its name, nil for none
---@field request tidewire.Request
---@field started_at number              seconds since 1970
---@field connected boolean              false while a session waits for its client
---@field rtt number|nil                 seconds of the last answered ping; nil before it
---@field backlog integer                bytes that wait to be sent to this client
---@field send fun(self: tidewire.Conn, value: any, options?: tidewire.SendOptions): true?, string?
local Conn = {}

--- Timers of connections: the connection's integer -> its running timers.
---@type table<integer, table<tidewire.Timer, true>>
local timers = {}

local methods, getters = {}, {}

--- The last name that a script has looked for in a connection and not found (missing.lua).
local looked_for = {} ---@type { name: any }

--- What a name of the library's is, in a message.
local function what_it_is(name)
  return getters[name] and "every connection has this field itself"
    or "it is a method of every connection"
end

--- A name that a script could use in place of the library's: "user_id" for "id".
local function other_name(name)
  return (getters[name] and "user_" or "my_") .. name
end

--- The next field that is the script's own.
local function next_own(conn, key)
  local value
  repeat
    key, value = next(conn, key)
  until key ~= ID and not (type(key) == "string" and key:byte() == 0)
    and not (key == "send" and value == conn[ENDPOINT].send)
  return key, value
end

--- Has its endpoint the option `user`?
local function has_users(conn)
  local options = conn[ENDPOINT].options
  return options ~= nil and options.user ~= nil -- endpoints without code have no options
end

local metatable = {
  __pairs = function(conn) return next_own, conn, nil end,
  __name = "tidewire.Conn",
  __kind = "a connection",
  __instead = "send its id, conn.id",
  __tostring = function(conn)
    return ("tidewire.Conn %s (%s)"):format(core.id_text(conn[ID]), conn[ENDPOINT].name)
  end,
  __index = function(conn, key)
    local method = methods[key]
    if method ~= nil then
      return method
    end
    local getter = getters[key]
    if getter then
      return getter(conn)
    end
    looked_for.name = key
  end,
  -- Lua calls this for new fields only. Names of the library are never fields, so a change of a
  -- field costs nothing.
  __newindex = function(conn, key, value)
    if key == "user" then -- without the option `user` it is a name as any other
      if has_users(conn) then
        error("conn.user cannot be set: the option `user` of the handler decides it; put your "
          .. "value under another name, such as conn.my_user", 2)
      end
    elseif methods[key] ~= nil or getters[key] ~= nil then
      error(("conn.%s cannot be set: %s; put your value under another name, such as conn.%s")
        :format(key, what_it_is(key), other_name(key)), 2)
    end
    rawset(conn, key, value)
  end,
}

---@param id integer
---@param endpoint tidewire.PreparedEndpoint
---@param request tidewire.Request
---@param subprotocol string|nil
---@param fields table|nil        what `validate` returned
---@return tidewire.Conn
function Conn.new(id, endpoint, request, subprotocol, fields)
  -- Four fields: with a fifth the table has room for eight. So the request keeps the time.
  local conn = { [ID] = id, [ENDPOINT] = endpoint, [REQUEST] = request, send = endpoint.send }
  Request.set_start(request, core.time())
  if subprotocol then
    conn[SUBPROTOCOL] = subprotocol
  end
  if fields then
    for key, value in pairs(fields) do
      conn[key] = value
    end
  end
  return setmetatable(conn, metatable)
end

--- What outlives the process: the fields of scripts, and all else that the object of a session has.
---@param conn tidewire.Conn
---@return table fields
---@return table rest
function Conn.save(conn)
  local fields = {}
  for key, value in pairs(conn) do
    fields[key] = value
  end
  return fields, {
    request = Request.save(conn[REQUEST]), subprotocol = conn[SUBPROTOCOL],
    user = rawget(conn, USER),
  }
end

--- The object of a session of an earlier process.
---@param id integer
---@param endpoint tidewire.PreparedEndpoint
---@param fields table
---@param rest table
---@return tidewire.Conn
function Conn.restore(id, endpoint, fields, rest)
  local request = Request.restore(rest.request)
  local conn = { [ID] = id, [ENDPOINT] = endpoint, [REQUEST] = request, send = endpoint.send }
  conn[SUBPROTOCOL], conn[USER] = rest.subprotocol, rest.user
  for key, value in pairs(fields) do
    if methods[key] == nil and getters[key] == nil or key == "user" and not rest.user then
      conn[key] = value
    end
  end
  return setmetatable(conn, metatable)
end

--- Gives the connection of a session what a later handshake has made: the request, and the fields
--- of `validate`. `started_at` stays.
---@param conn tidewire.Conn
---@param returned tidewire.Conn  the connection of that handshake
---@return table<string, any> before  the values that fields of these names had
---@return fun() restore              undoes it
function Conn.take_over(conn, returned)
  local before, old, names = {}, {}, {} -- `before` is the script's
  local request, subprotocol = conn[REQUEST], conn[SUBPROTOCOL]
  for name, value in pairs(returned) do
    names[#names + 1], before[name], old[name] = name, rawget(conn, name), rawget(conn, name)
    rawset(conn, name, value)
  end
  Request.set_start(returned[REQUEST], Request.start(request))
  conn[REQUEST] = returned[REQUEST]
  rawset(conn, SUBPROTOCOL, returned[SUBPROTOCOL])
  return before, function()
    for _, name in ipairs(names) do
      rawset(conn, name, old[name])
    end
    conn[REQUEST] = request
    rawset(conn, SUBPROTOCOL, subprotocol)
  end
end

--- The message about fields that would hide the connection's own.
---@param fields table  what `validate` returned
---@return string|nil problem  nil: none of them
function Conn.taken_names(fields)
  local names, others = {}, {}
  for name in pairs(fields) do
    if name == "send" or methods[name] ~= nil or getters[name] ~= nil and name ~= "user" then
      names[#names + 1] = name
    end
  end
  if #names == 0 then
    return nil
  end
  table.sort(names)
  for i, name in ipairs(names) do
    names[i], others[i] = ('"%s"'):format(name), ('"%s"'):format(other_name(name))
  end
  return ("validate returned %s, which every connection has itself; choose another name, "
    .. "such as %s"):format(table.concat(names, " and "), table.concat(others, " and "))
end

--- Restores conn.send where a script has set it, and throws. No other name of the library can be
--- set; `send` is a field, which any script can change.
---@param conn tidewire.Conn
function Conn.check_send(conn)
  local send = conn[ENDPOINT].send
  if conn.send ~= send then
    conn.send = send
    error("conn.send was set: it is a method of every connection; put your value under another "
      .. "name, such as conn.my_send", 0)
  end
end

--- Sets conn.user, in place of a field of this name.
---@param conn tidewire.Conn
---@param user string|nil
function Conn.set_user(conn, user)
  local before = rawget(conn, USER)
  if has_users(conn) then
    rawset(conn, "user", nil)
  elseif before then -- without the option it is the script's own again
    rawset(conn, "user", before)
  end
  rawset(conn, USER, user)
end

--- The user, as the option `user` has decided; nil: it has none.
---@param conn tidewire.Conn
---@return string|nil
function Conn.user(conn)
  return rawget(conn, USER)
end

--- A field of the script's own, or nil.
---@param conn tidewire.Conn
---@param name string
function Conn.own_field(conn, name)
  return rawget(conn, name)
end

--- The connection's integer.
---@param conn tidewire.Conn
---@return integer
function Conn.integer(conn)
  return conn[ID]
end

--- Is this a connection?
---@param value any
---@return boolean
function Conn.is(value)
  return getmetatable(value) == metatable
end

---@param conn tidewire.Conn
function Conn.cancel_timers(conn)
  local mine = timers[conn[ID]]
  if mine then
    timers[conn[ID]] = nil
    for timer in pairs(mine) do
      timer:cancel()
    end
  end
end

-- ---- fields ----

function getters.id(conn) return core.id_text(conn[ID]) end
function getters.name(conn) return conn[ENDPOINT].name end
function getters.request(conn) return conn[REQUEST] end
function getters.started_at(conn) return Request.start(conn[REQUEST]) end
function getters.subprotocol(conn) return conn[SUBPROTOCOL] end
function getters.path(conn) return conn[REQUEST].path end
function getters.params(conn) return conn[REQUEST].params end
function getters.query(conn) return conn[REQUEST].query end
function getters.remote_address(conn) return conn[REQUEST].remote_address end
function getters.secure(conn) return conn[REQUEST].secure end
function getters.user(conn) return rawget(conn, USER) end
function getters.rtt(conn) return core.rtt(conn[ID]) end
function getters.connected(conn) return core.is_connected(conn[ID]) end
function getters.backlog(conn) return core.backlog(conn[ID]) end

-- ---- methods ----

--- The connection's integer. Throws for what is no connection: methods are called with a colon.
local function id_of(self, method)
  local id = type(self) == "table" and self[ID]
  if not id then
    error(("conn:%s: call it with a colon, conn:%s(…)"):format(method, method), 3)
  end
  return id
end

local LONGEST_REASON <const> = core.limits.close_reason_bytes

--- Throws, at the line of the caller's caller, unless a Close frame can carry this code and reason
--- (RFC 6455, 7.4).
---@param what string        what the message begins with
---@param code any
---@param reason any
---@return integer code      1000 for nil
---@return string reason     "" for nil
function Conn.check_close(what, code, reason)
  code = code == nil and core.close_codes.normal or code
  if math.type(code) ~= "integer" or not core.close_code_is_valid(code) then
    error(("%s: %s is no code that can be sent; use 1000 to 1014 (but 1004 to 1006) or "
      .. "3000 to 4999"):format(what, option_types.describe(code)), 3)
  end
  if reason ~= nil
    and (type(reason) ~= "string" or #reason > LONGEST_REASON or not utf8.len(reason)) then
    error(("%s: the reason must be UTF-8 text of at most %d bytes"):format(what, LONGEST_REASON), 3)
  end
  return code, reason or ""
end

--- Sends what is queued, then a Close frame; `on_close` follows. Does nothing on one that closes
--- already.
---@param self tidewire.Conn
---@param code integer|nil   1000 by default; 1000 to 1014 but 1004 to 1006, or 3000 to 4999
---@param reason string|nil  UTF-8, at most 123 bytes
function methods.close(self, code, reason)
  local id = id_of(self, "close")
  code, reason = Conn.check_close("close", code or nil, reason)
  core.close(id, code, reason)
end

---@param self tidewire.Conn
---@return boolean
function methods.is_open(self)
  return core.is_open(id_of(self, "is_open"))
end

--- Sends a ping of the endpoint's kind (a PING frame, or JSON) now; its answer gives `conn.rtt`.
---@param self tidewire.Conn
---@return true|nil ok
---@return string|nil message  "closed"
function methods.ping(self)
  if core.ping(id_of(self, "ping")) then
    return true
  end
  return nil, "closed"
end

--- Sends a request to the client, and waits for its answer: docs/clients.md has the form of both.
---@param self tidewire.Conn
---@param value any|nil  the request's data
---@param options { timeout: number|nil, type: string|nil }|nil
---@return any answer
---@return string|nil message  "timeout", "closed", "disconnected", "backlog", "busy": 100 requests
---  are open; or the message of an error that the client has answered
---@return string|nil kind     of such an error
function methods.ask(self, value, options)
  local id, endpoint = id_of(self, "ask"), self[ENDPOINT]
  local checked = misuse.blame_caller(requests.check, endpoint, value, options)
  return requests.ask(id, endpoint, checked)
end

--- Is this the name of a room? Throws if not.
local function check_room(what, room)
  local problem = room_names.problem(room)
  if problem then
    error(("%s: %s"):format(what, problem), 3)
  end
end

--- What others may know of a member, as JSON.
local function encode_info(info)
  if info == nil then
    return nil
  end
  local ok, text = pcall(json.encode, info)
  if not ok then
    error("conn:join: " .. text:gsub("^value", "info"), 3)
  end
  return text
end

--- Enters a room. Entering twice only replaces `info`. A closing connection leaves its rooms by
--- itself. With the option `cluster` it waits until this machine gets what others send to the room.
---@param self tidewire.Conn
---@param room string
---@param info any|nil  a value that JSON can express, for other connections (`members`, `watch`)
---@param replay tidewire.Replay|nil  what the room remembers, which the client gets first
---@return true|nil ok
---@return tidewire.RoomPosition|string|nil position_or_message  "closed"; with `replay`: where the
---  client is in the room's memory
function methods.join(self, room, info, replay)
  local id = id_of(self, "join")
  check_room("conn:join", room)
  local text = encode_info(info)
  cluster.sync(room)
  if replay ~= nil then
    local joined, position = misuse.blame_caller(room_memory.join, id, room, text, replay)
    return joined, position -- no tail call: errors count the frames
  end
  if core.join(id, room, text) then
    return true
  end
  return nil, "closed"
end

--- Leaves a room. Leaving one that it is not in does nothing.
---@param self tidewire.Conn
---@param room string
---@return true|nil ok
---@return string|nil message  "closed"
function methods.leave(self, room)
  local id = id_of(self, "leave")
  check_room("conn:leave", room)
  if core.leave(id, room) then
    return true
  end
  return nil, "closed"
end

--- The names of the rooms that the connection is in, sorted.
---@param self tidewire.Conn
---@return string[]
function methods.rooms(self)
  local rooms = core.rooms_of(id_of(self, "rooms"))
  table.sort(rooms)
  return rooms
end

--- Runs f(conn) of a timer.
local function run_timer(conn, f)
  core.runs_for(conn[ID])
  local ok, err = errors.call("timer", f, conn)
  if not ok then
    core.count_error("script")
    errors.thrown(conn, err)
  end
end

local function add_timer(conn, start, seconds, f)
  if not core.is_open(conn[ID]) then
    return async.dead_timer()
  end
  local mine = timers[conn[ID]]
  if not mine then
    mine = {}
    timers[conn[ID]] = mine
  end
  local timer
  timer = start(seconds, function()
    if core.is_open(conn[ID]) then
      run_timer(conn, f)
    elseif timer then -- an error of memory came before `mine` had it
      timer:cancel()
    end
  end, function(ended) mine[ended] = nil end)
  mine[timer] = true
  return timer
end

--- Calls f(conn) once, `seconds` from now, unless the connection closes before.
---@param self tidewire.Conn
---@param seconds number
---@param f fun(conn: tidewire.Conn)
---@return tidewire.Timer
function methods.after(self, seconds, f)
  id_of(self, "after")
  async.check_timer("conn:after", seconds, f)
  return add_timer(self, async.start_once, seconds, f)
end

--- Calls f(conn) every `seconds` until the connection closes. A call that still waits is not
--- overtaken.
---@param self tidewire.Conn
---@param seconds number  0.001 or more
---@param f fun(conn: tidewire.Conn)
---@return tidewire.Timer
function methods.every(self, seconds, f)
  id_of(self, "every")
  async.check_timer("conn:every", seconds, f, 0.001)
  return add_timer(self, async.start_repeating, seconds, f)
end

--- The fields, as values of the types that they have.
local getters_as_values = {}
for name in pairs(methods) do
  assert(conn_names[name], name) -- the check of the option `user` knows all of them
end
for name in pairs(getters) do
  assert(conn_names[name] or name == "user", name)
  getters_as_values[name] = (name == "params" or name == "query" or name == "request")
    and {} or name
end

missing.add {
  subject = "conn",
  names = function()
    local names = { send = ":" }
    for name in pairs(methods) do
      names[name] = ":"
    end
    for name in pairs(getters) do
      names[name] = "."
    end
    return names
  end,
  values = function() return getters_as_values end,
  looked_for = looked_for,
  is_open = true,
}

return Conn
