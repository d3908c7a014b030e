-- call_options.lua -- the options of a function of the library: tw.connect, tw.pool, tw.run, …
--
-- A function declares its list once, in the form of options.lua, and checks what a script gives in
-- each call.

local missing = require "tidewire.base.missing"
local misuse = require "tidewire.base.misuse"
local option_types = require "tidewire.load.option_types"
local options = require "tidewire.load.options"

local call_options = {}

---@type table<string, tidewire.OptionSpec[]>  by the lists' names
local lists = {}

--- Declares the options of a function, or of a group of options.
---@param list_name string
---@param list tidewire.OptionSpec[]
function call_options.declare(list_name, list)
  lists[list_name] = list
  options.declare(list_name, list)
end

--- Checks the options of a call. Throws a text without a place.
---@param list_name string
---@param given any      what the script gives; nil: none
---@param before string  what the text begins with: "tw.connect: "
---@return table<string, any> effective  with the defaults
---@return table<string, any> checked    what the script has given, as normal values
function call_options.check(list_name, given, before)
  if given ~= nil and (type(given) ~= "table" or missing.is_module(given)) then
    misuse.throw("%soptions must be a table, got %s", before, option_types.kind(given))
  end
  local checked, findings = options.check(list_name, given or {}, "", {})
  if findings.problems[1] then
    misuse.throw("%s%s", before, findings.problems[1].message)
  end
  local effective = {}
  for _, spec in ipairs(lists[list_name]) do
    effective[spec.name] = options.effective(spec, { checked })
  end
  return effective, checked
end

return call_options
