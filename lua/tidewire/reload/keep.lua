-- keep.lua -- `tw.keep`: tables of this worker that outlive a reload, and a restart where the app
-- has a state file.
--
-- A reload gives the app's code a new generation: new modules, new local variables. This module
-- belongs to the library, which all generations share, so tables in `kept` stay until the worker
-- ends. Functions and metatables in these tables stay those of the code that put them there.
--
-- The state has plain data only. It is taken when the app's file has run, as the file names it: so
-- a table that the file has made is filled, and stays the same table.

local core = require "tidewire.core"
local log = require "tidewire.log"
local option_types = require "tidewire.load.option_types"

local kept = {} ---@type table<string, table>
--- Tables of the state that no call has asked for yet.
local taken = {} ---@type table<string, table>
local has_taken = false

local keep = {}

local PLAIN <const> = { boolean = true, number = true, string = true }

--- Could the value be in the state?
local function is_plain(value)
  return PLAIN[type(value)] or type(value) == "table" and option_types.kind(value) == "table"
end

--- Gives a table the plain data of another one. What is no plain data stays, and so do tables that
--- both have, in their places.
local function fill(into, values)
  for key, value in next, into do
    if values[key] == nil and is_plain(value) then
      rawset(into, key, nil)
    end
  end
  for key, value in next, values do
    local old = rawget(into, key)
    if type(value) == "table" and type(old) == "table" and is_plain(old) then
      fill(old, value)
    else
      rawset(into, key, value)
    end
  end
end

--- The table of a name: the same table each time, before and after a reload. The first call makes
--- `initial`, or the table that it returns, that table; later calls ignore `initial`. With a state,
--- the first call fills the table with what it had.
---@generic T: table
---@param name string
---@param initial T|(fun(): T)|nil  {} by default
---@return T
function keep.get(name, initial)
  local kind = type(initial)
  if type(name) ~= "string" or name == "" then
    error(("tw.keep: a name is needed, got %s")
      :format(name == "" and '""' or option_types.kind(name)), 2)
  elseif initial ~= nil and kind ~= "table" and kind ~= "function" then
    error(("tw.keep: the initial value must be a table, or a function that returns one; got %s")
      :format(kind), 2)
  elseif kept[name] then
    return kept[name]
  end
  local first = initial
  if kind == "function" then
    first = initial()
    if type(first) ~= "table" then
      error(("tw.keep: the function for %q must return a table, it returned %s")
        :format(name, type(first)), 2)
    end
  end
  if not kept[name] then -- the function may have waited while another came first
    kept[name] = first or {}
    if taken[name] then
      fill(kept[name], taken[name])
      taken[name] = nil
    end
  end
  return kept[name]
end

--- The table of this index in the state: its name and values.
local function read(index)
  local ok, name, values = pcall(core.state_keep, index)
  if not ok then -- there is no memory for it
    log.error("a table of tw.keep is left out of the state", { why = tostring(name) })
    return true
  end
  return name, values
end

--- Takes the tables of this worker that are in the state, once: as the app is loaded, or later,
--- when the process before has passed them.
function keep.take_state()
  if has_taken then
    return
  end
  local index = 0
  local name, values = read(0)
  while name do
    if values and kept[name] then
      fill(kept[name], values)
    elseif values then
      taken[name] = values
    end
    has_taken = true
    index = index + 1
    name, values = read(index)
  end
end

--- Writes the tables of this worker into the state: in the event save_state.
function keep.save_state()
  local names = {}
  for _, tables in ipairs { kept, taken } do
    for name in pairs(tables) do
      names[#names + 1] = name
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    core.state_save_keep(name, kept[name] or taken[name])
  end
end

return keep
