-- presence.lua -- the members of rooms, over all workers: room:members() and room:watch().
--
-- C keeps the members, and sends an event for each change in a room that this worker watches. Keeps
-- the watches of this worker.

local core = require "tidewire.core"
local json = require "tidewire.json"
local misuse = require "tidewire.base.misuse"
local missing = require "tidewire.base.missing"
local generation_timers = require "tidewire.reload.generation_timers"

local presence = {}

---@class tidewire.Member
---@field id string    conn.id
---@field name string  conn.name
---@field info any     what conn:join was given; nil if nothing

local function new_member(integer, json_name, info)
  local member = { id = core.id_text(integer), name = json.decode(json_name) }
  if info then
    member.info = json.decode(info)
  end
  return member
end

--- The members of the room of that name, in no order.
---@param name string
---@return tidewire.Member[]
function presence.members(name)
  local list, members = core.room_members(name), {}
  for i = 1, #list, 3 do
    members[#members + 1] = new_member(list[i], list[i + 1], list[i + 2])
  end
  return members
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

---@class tidewire.Watchers  one of them at least
---@field on_join fun(member: tidewire.Member)|nil
---@field on_leave fun(member: tidewire.Member)|nil

local WATCHERS <const> = { "on_join", "on_leave" }

--- One function of two.
local function join_watchers(watchers)
  misuse.check_names(watchers, WATCHERS, "room:watch: ")
  local functions = { join = watchers.on_join, leave = watchers.on_leave }
  for event, f in pairs(functions) do
    if type(f) ~= "function" then
      misuse.throw("room:watch: on_%s must be a function, got %s", event, type(f))
    end
  end
  if not next(functions) then
    misuse.throw "room:watch: on_join or on_leave is needed"
  end
  return function(event, member)
    local f = functions[event]
    if f then
      f(member)
    end
  end
end

--- Calls f("join" or "leave", member) for each connection that joins or leaves from now on, each
--- call in a coroutine of its own: f may wait. Throws, without a place, for what is no function.
--- C's watch comes last: an error of memory may come before.
---@param name string  the room's
---@param f (fun(event: "join"|"leave", member: tidewire.Member))|tidewire.Watchers
---@return tidewire.Watch
function presence.watch(name, f)
  if type(f) == "table" then
    f = join_watchers(f)
  elseif type(f) ~= "function" then
    misuse.throw("room:watch: a function is needed, or a table with on_join and on_leave; got %s",
      type(f))
  end
  core.check_lasting()
  local watch = setmetatable({ room = name, f = f, is_on = true }, Watch)
  generation_timers.add(watch)
  local list = watches[name] or {}
  table.insert(list, watch)
  watches[name] = list
  core.watch(name, true)
  return watch
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
local function call(watch, event, member)
  if watch.is_on then
    watch.f(event, member)
  end
end

--- C's event: a connection joined or left a room that is watched.
function presence.changed(integer, name, joined, json_name, info)
  for _, watch in ipairs({ table.unpack(watches[name] or {}) }) do
    core.set_scope(watch.scope)
    core.spawn(call, watch, joined and "join" or "leave", new_member(integer, json_name, info))
  end
end

return presence
