-- keep.lua -- `tw.keep`: tables of this worker that outlive a reload.
--
-- A reload gives the app's code a new generation: new modules, new local variables. This module
-- belongs to the library, which all generations share, so tables in `kept` stay until the worker
-- ends. Functions and metatables in these tables stay those of the code that put them there.

local option_types = require "tidewire.load.option_types"

local kept = {} ---@type table<string, table>

local keep = {}

--- The table of a name: the same table each time, before and after a reload. The first call makes
--- `initial`, or the table that it returns, that table; later calls ignore `initial`.
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
  kept[name] = kept[name] or first or {} -- the function may have waited while another came first
  return kept[name]
end

return keep
