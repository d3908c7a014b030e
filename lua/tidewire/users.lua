-- users.lua -- the users of connections: the option `user`, `tw.user`, `tw.watch_users`.
--
-- The name of a connection's user is decided when its handshake is accepted, and again when new
-- code is activated. C counts the connections of each user, over all workers, and has a room with
-- them: a message to a user is a broadcast. Keeps nothing.

local Conn = require "tidewire.conn"
local conn_keys = require "tidewire.conn_keys"
local cluster = require "tidewire.cluster"
local core = require "tidewire.core"
local errors = require "tidewire.errors"
local inspect = require "tidewire.base.inspect"
local json = require "tidewire.json"
local missing = require "tidewire.base.missing"
local misuse = require "tidewire.base.misuse"
local option_types = require "tidewire.load.option_types"
local presence = require "tidewire.presence"
local room = require "tidewire.room"
local room_names = require "tidewire.room_names"
local send_options = require "tidewire.send_options"

local ENDPOINT <const> = conn_keys.ENDPOINT

-- As core/bus/users.h and core/frames/close_codes.h have them.
local TOO_MANY <const> = {
  code = 4429, reason = "too many connections of this user",
  replaced = 4409, replaced_reason = "replaced by another connection of this user",
}

local users = {}

-- ---- the option ----

--- The error of an option that gives no name.
local function no_name(option, problem)
  local where = type(option) == "function"
    and inspect.place(option) .. "user must return a string, an integer or nil"
    or ('user: the field %s must be a string, an integer or nil'):format(option_types.quote(option))
  return errors.new("script", ("%s; %s"):format(where, problem), "user")
end

--- The name of the connection's user.
---@param conn tidewire.Conn
---@return boolean ok
---@return string|tidewire.Error|nil name  nil: it has none
local function name_of(conn)
  local options = conn[ENDPOINT].options
  local option = options and options.user
  if option == nil then
    return true
  end
  local value
  if type(option) == "function" then
    local ok
    ok, value = errors.call("user", option, conn)
    if not ok then
      return false, value
    end
  else
    value = Conn.own_field(conn, option)
    if value == nil and option == "user" then
      value = Conn.user(conn)
    end
  end
  if value == nil or value == false then
    return true
  end
  local name, problem = room_names.user(value)
  if not name then
    return false, no_name(option, problem)
  end
  return true, name
end

--- Sets conn.user of a new connection.
---@param conn tidewire.Conn
---@return boolean ok
---@return string|tidewire.Error|nil name
function users.identify(conn)
  local ok, name = name_of(conn)
  if not ok then
    return false, name
  end
  local own = Conn.own_field(conn, "user")
  if own ~= nil and room_names.user(own) ~= name then
    return false, errors.new("script", 'validate returned "user", which the option `user` gives; '
      .. 'choose another name for the field, such as "my_user"', "user")
  end
  Conn.set_user(conn, name)
  return true, name
end

--- New code runs: decides anew about a connection. After an error its user stays.
---@param conn tidewire.Conn
function users.update(conn)
  local ok, name = name_of(conn)
  if not ok then
    core.count_error("script")
    errors.log(name --[[@as tidewire.Error]], Conn.integer(conn))
  elseif name ~= Conn.user(conn) then
    core.set_user(Conn.integer(conn), name)
    Conn.set_user(conn, name --[[@as string|nil]])
  end
end

-- ---- user_connections, on other machines ----

--- Connections that were refused before their on_start.
local refused = setmetatable({}, { __mode = "k" })

--- Was it refused by users.admit()? Then on_start was not called.
---@param conn tidewire.Conn
---@return boolean
function users.was_refused(conn)
  return refused[conn] ~= nil
end

--- The ids of the user's connections at this endpoint on other machines, and the number of those on
--- this one.
local function connections_at(user, endpoint_name)
  local list, away, here = core.room_members(room_names.of_user(user)), {}, 0
  for i = 1, #list, 4 do
    if json.decode(list[i + 1]) == endpoint_name then
      if type(list[i]) == "string" then
        away[#away + 1] = list[i]
      else
        here = here + 1
      end
    end
  end
  return away, here
end

--- The option user_connections, with the connections on other machines; C has compared it with
--- those of this one. Before on_start; waits until this machine knows them. Two that come at the
--- same moment on two machines may both be closed. While Redis is away, each counts its own.
---@param conn tidewire.Conn
---@return boolean  false: it is refused, and is closed
function users.admit(conn)
  local options, user = conn[ENDPOINT].options, Conn.user(conn)
  local max = options and options.user_connections
  if not max or not user then
    return true
  end
  cluster.sync(room_names.of_user(user))
  local away, here = connections_at(user, conn.name)
  local over = #away + here - max
  if options.user_limit == "replace" then
    for i = 1, math.min(over, #away) do
      core.close_away(away[i], TOO_MANY.replaced, TOO_MANY.replaced_reason)
    end
  elseif over > 0 then
    refused[conn] = true
    core.close(Conn.integer(conn), TOO_MANY.code, TOO_MANY.reason)
    return false
  end
  return true
end

-- ---- tw.user ----

---@class tidewire.User
---@field name string
local User = {}
User.__index = User
User.__name = "tidewire.User"
User.__kind = "a user"
User.__instead = "send its name, user.name"
missing.watch_class("user", User, { name = true })

--- Each tw.user returns a new object, so fields that scripts set would be lost.
function User.__newindex(_, key)
  error(("a user has no fields of the script's (%s): keep such things in a table of your own, by "
    .. "the user's name"):format(option_types.describe(key)), 2)
end

function User:__tostring()
  return ("tidewire.User %q"):format(self.name)
end

function User.__eq(one, other)
  return one.name == other.name
end

--- The user of a name. The user need not have a connection.
---@param name string|integer  an integer is the same as its digits
---@return tidewire.User
function users.get(name)
  local text, problem = room_names.user(name)
  if not text then
    error(("tw.user: a name is needed, %s"):format(problem), 2)
  end
  return setmetatable({ name = text }, User)
end

--- Throws unless it is a user: methods are called with a colon.
local function check_user(value, method)
  if getmetatable(value) ~= User then
    error(("user:%s: call it with a colon, user:%s(…)"):format(method, method), 3)
  end
end

---@class tidewire.UserSendOptions
---@field kind "text"|"binary"|nil         as of conn:send
---@field key string|nil                   the same
---@field compress boolean|nil             the same
---@field except tidewire.Conn|string|nil  as of room:broadcast

--- Sends a value to all connections of the user, each through the codec of its endpoint.
---@param value any
---@param options "text"|"binary"|tidewire.UserSendOptions|nil
---@return integer delivered  the number of connections for which it was queued
function User:send(value, options)
  check_user(self, "send")
  local kind, key, stays_plain, except = send_options.of_user("user:send", options, 2)
  local name = room_names.of_user(self.name)
  local codec_numbers, away = core.room_codecs(name)
  local delivered = room.publish("user:send", value, codec_numbers, away, name, nil, except,
    key, stays_plain, kind)
  return delivered -- no tail call: errors count the frames
end

--- The ids of the user's connections, as C has them: integers, and texts of other machines.
local function connections_of(user)
  local list, ids = core.room_members(room_names.of_user(user.name)), {}
  for i = 1, #list, 4 do
    ids[#ids + 1] = list[i]
  end
  return ids
end

--- Closes a connection of any worker or machine.
local function close(id, code, reason)
  if type(id) == "string" then
    return core.close_away(id, code, reason)
  end
  return core.close_anywhere(id, code, reason)
end

--- Closes all connections of the user, after the messages that are queued for them.
---@param code integer|nil    as of conn:close
---@param reason string|nil
---@return integer closed  their number
function User:close(code, reason)
  check_user(self, "close")
  cluster.sync(room_names.of_user(self.name))
  code, reason = Conn.check_close("user:close", code, reason)
  local closed = 0
  for _, id in ipairs(connections_of(self)) do
    if close(id, code, reason) then
      closed = closed + 1
    end
  end
  return closed
end

--- The ids of the user's connections, over all workers and machines, in no order.
---@return string[]
function User:connections()
  check_user(self, "connections")
  cluster.sync(room_names.of_user(self.name))
  local ids = connections_of(self)
  for i, id in ipairs(ids) do
    ids[i] = presence.id_text(id)
  end
  return ids
end

--- Has the user a connection, on any worker or machine?
---@return boolean
function User:online()
  check_user(self, "online")
  cluster.sync(room_names.of_user(self.name))
  return core.room_size(room_names.of_user(self.name)) > 0
end

-- ---- tw.watch_users ----

--- Calls f("online" or "offline", name) for each user that comes online, with the first connection
--- on any worker, or goes offline, with the last one. Each call has a coroutine of its own.
---@param f (fun(event: "online"|"offline", name: string))|tidewire.UserWatchers
---@return tidewire.Watch
function users.watch(f)
  local watch = misuse.blame_caller(presence.watch_users, f)
  return watch -- no tail call, as above
end

return users
