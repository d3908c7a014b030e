-- resume.lua -- checks the option `resume`: sessions, or none, or a table of their limits.
--
-- Pure functions, run while an app loads.

local compression = require "tidewire.load.compression"
local option_fields = require "tidewire.load.option_fields"

local resume = {}

--- What `true` means.
resume.defaults = { seconds = 60, messages = 1000, bytes = 256 << 10, sessions = 10000 }

local fields <const> = {
  { name = "seconds", type = "seconds", positive = true },
  { name = "messages", type = "count" },
  { name = "bytes", type = "size", min = 1, max = 1 << 40 },
  { name = "sessions", type = "count" },
}

resume.expected =
  'true, false or { seconds = 60, messages = 1000, bytes = "256K", sessions = 10000 }'
resume.expected_text = 'true, false or fields, as in "seconds=60 bytes=256K"'

--- Checks the value and fills in what a table leaves out.
---@param value any
---@param check_field fun(field: table, value: any): boolean, any  as option_types' `check`, with
---                      messages
---@return boolean ok
---@return any value_or_problems  a table, or false; nil for another kind of value; a list of
---                               messages
function resume.check(value, check_field)
  if type(value) == "boolean" then
    return true, value and resume.defaults
  elseif type(value) ~= "table" then
    return false
  end
  local checked, problems = option_fields.check(value, fields, check_field)
  for name, default in pairs(resume.defaults) do
    if checked[name] == nil then
      checked[name] = default
    end
  end
  return #problems == 0, #problems == 0 and checked or problems
end

--- Reads the value from text: a word, or fields with spaces or commas between them. Returns nil for
--- another text.
resume.from_text = compression.from_text

return resume
