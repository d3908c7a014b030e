-- presence.lua -- the members of rooms, over all workers and machines: room:members(),
-- room:users(), room:watch() and tw.watch_users().
--
-- C keeps the members, and sends an event for each change in a room that this worker watches. Keeps
-- the watches of this worker.

local core = require "tidewire.core"
local json = require "tidewire.json"
local misuse = require "tidewire.base.misuse"
local missing = require "tidewire.base.missing"
local generation_timers = require "tidewire.reload.generation_timers"
local option_types = require "tidewire.load.option_types"
local room_names = require "tidewire.room_names"
local sorted_keys = require "tidewire.base.sorted_keys"

local presence = {}

---@class tidewire.Member
---@field id string    conn.id
---@field name string  conn.name
---@field info any     what conn:join was given; nil if nothing
---@field user string|nil  conn.user, of the option `user`

--- The text of an id of which C gives the integer, or the text when it is of another machine.
---@param id integer|string
---@return string
function presence.id_text(id)
  return type(id) == "string" and id or core.id_text(id --[[@as integer]])
end

local function new_member(id, json_name, info, user)
  local member = { id = presence.id_text(id), name = json.decode(json_name) }
  if info then
    member.info = json.decode(info)
  end
  member.user = user or nil
  return member
end

--- The members of the room of that name, in no order.
---@param name string
---@return tidewire.Member[]
function presence.members(name)
  local list, members = core.room_members(name), {}
  for i = 1, #list, 4 do
    members[#members + 1] = new_member(table.unpack(list, i, i + 3))
  end
  return members
end

--- The names of the users with a connection in the room of that name, sorted.
---@param name string
---@return string[]
function presence.users(name)
  local list, names = core.room_members(name), {}
  for i = 1, #list, 4 do
    if list[i + 3] then
      names[list[i + 3]] = true
    end
  end
  return sorted_keys(names)
end

---@class tidewire.Watch
---@field room string
---@field f fun(event: "join"|"leave", member: tidewire.Member)
---@field is_on boolean
local Watch = {}
Watch.__index = Watch
Watch.__name = "tidewire.Watch"
Watch.__kind = "a watch of a room"
Watch.__instead = "it is of use in this worker only"
missing.watch_class("watch", Watch)

--- The watches of a room, by its name.
---@type table<string, tidewire.Watch[]>
local watches = {}

---@class tidewire.Watchers  one of the functions at least
---@field on_join fun(member: tidewire.Member)|nil
---@field on_leave fun(member: tidewire.Member)|nil
---@field by "user"|nil  only the first connection of a user in the room, and the last one

---@class tidewire.UserWatchers  one of them at least
---@field on_online fun(name: string)|nil
---@field on_offline fun(name: string)|nil

--- One function of two: { on_join = f, on_leave = g } as f(event, …).
---@param what string      what messages begin with
---@param watchers table
---@param events string[]  two
---@param others string[]  what else the table may have
local function join_watchers(what, watchers, events, others)
  local names, functions = { table.unpack(others) }, {}
  for _, event in ipairs(events) do
    local name = "on_" .. event
    names[#names + 1], functions[event] = name, watchers[name]
  end
  misuse.check_names(watchers, names, what .. ": ")
  for event, f in pairs(functions) do
    if type(f) ~= "function" then
      misuse.throw("%s: on_%s must be a function, got %s", what, event, type(f))
    end
  end
  if not next(functions) then
    misuse.throw("%s: on_%s or on_%s is needed", what, events[1], events[2])
  end
  return function(event, ...)
    local f = functions[event]
    if f then
      f(...)
    end
  end
end

--- The function of a watch, of what the script gives.
local function watcher_of(what, f, events, others)
  if type(f) == "table" then
    return join_watchers(what, f, events, others)
  elseif type(f) ~= "function" then
    misuse.throw("%s: a function is needed, or a table with on_%s and on_%s; got %s", what,
      events[1], events[2], type(f))
  end
  return f
end

--- Begins a watch. C's watch comes last: an error of memory may come before.
local function start(name, f, fields)
  core.check_lasting()
  local watch = setmetatable(fields or {}, Watch)
  watch.room, watch.f, watch.is_on = name, f, true
  generation_timers.add(watch)
  local list = watches[name] or {}
  table.insert(list, watch)
  watches[name] = list
  core.watch(name, true)
  return watch
end

-- ---- watches by user ----

--- A member of a user. Returns true for the user's first one.
local function arrive(watch, integer, user)
  if not user or watch.user_of[integer] then
    return false
  end
  local count = watch.counts[user] or 0
  watch.user_of[integer], watch.counts[user] = user, count + 1
  return count == 0
end

--- A member of a user has left. Returns true for the user's last one.
local function depart(watch, integer)
  local user = watch.user_of[integer]
  local count = watch.counts[user] - 1
  watch.user_of[integer], watch.counts[user] = nil, count > 0 and count or nil
  return count == 0
end

local MEMBER_EVENTS <const>, USER_EVENTS <const> = { "join", "leave" }, { "online", "offline" }

--- Calls f("join" or "leave", member) for each connection that joins or leaves from now on, each
--- call in a coroutine of its own: f may wait. Throws, without a place, for what is no function.
---@param name string  the room's
---@param f (fun(event: "join"|"leave", member: tidewire.Member))|tidewire.Watchers
---@return tidewire.Watch
function presence.watch(name, f)
  local call = watcher_of("room:watch", f, MEMBER_EVENTS, { "by" })
  local by = type(f) == "table" and f.by or nil
  if by == nil then
    return start(name, call)
  elseif by ~= "user" then
    misuse.throw('room:watch: by must be "user", got %s', option_types.describe(by))
  end
  local watch = start(name, call, { user_of = {}, counts = {} })
  local list = core.room_members(name)
  for i = 1, #list, 4 do
    arrive(watch, list[i], list[i + 3])
  end
  return watch
end

--- Calls f("online" or "offline", name) for each user with a first connection or without the last
--- one. Throws, without a place, for what is no function.
---@param f (fun(event: "online"|"offline", name: string))|tidewire.UserWatchers
---@return tidewire.Watch
function presence.watch_users(f)
  return start(core.user_room, watcher_of("tw.watch_users", f, USER_EVENTS, {}))
end

--- Ends it: its function is called no more. A call that waits goes on to its end.
---@return boolean was_watching
function Watch:cancel()
  if getmetatable(self) ~= Watch then
    error("watch:cancel: call it with a colon, watch:cancel()", 2)
  end
  local list = watches[self.room] or {}
  for i, watch in ipairs(list) do
    if watch == self then
      table.remove(list, i)
      self.is_on = false
      generation_timers.remove(self)
      if #list == 0 then
        watches[self.room] = nil
        core.watch(self.room, false)
      end
      return true
    end
  end
  return false
end

--- Calls the watch's function, unless the watch was cancelled after the event.
local function call(watch, event, ...)
  if watch.is_on then
    watch.f(event, ...)
  end
end

local function spawn(watch, event, ...)
  core.set_scope(watch.scope)
  core.spawn(call, watch, event, ...)
end

--- A change for a watch by user: the user of each member is known, so that an event which the
--- first list of members has already is none.
local function change_users(watch, event, integer, json_name, info, user)
  local before = watch.user_of[integer]
  if event == "leave" then
    user = nil
  end
  if before == user or event == "join" and before then
    return
  end
  if before and depart(watch, integer) then
    spawn(watch, "leave", new_member(integer, json_name, info, before))
  end
  if user and arrive(watch, integer, user) then
    spawn(watch, "join", new_member(integer, json_name, info, user))
  end
end

--- C's event: a connection has joined or left a room that is watched, or has another user. In a
--- user's room it is the first or the last connection.
---@param integer integer|string  the connection's; of another machine its text
---@param name string      the room's
---@param event "join"|"leave"|"user"
---@param json_name string
---@param info string|nil
---@param user string|nil
function presence.changed(integer, name, event, json_name, info, user)
  local online = room_names.user_of(name)
  local list = { table.unpack(watches[online and core.user_room or name] or {}) }
  for _, watch in ipairs(list) do
    if online then
      spawn(watch, event == "join" and "online" or "offline", online)
    elseif watch.counts then
      change_users(watch, event, integer, json_name, info, user)
    elseif event ~= "user" then
      spawn(watch, event, new_member(integer, json_name, info, user))
    end
  end
end

return presence
