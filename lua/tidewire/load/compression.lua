-- compression.lua -- checks the option `compression`: on, off, or a table of details.
--
-- Pure functions, run while an app loads.

local option_fields = require "tidewire.load.option_fields"

local compression = {}

--- What `true` means.
compression.defaults = { threshold = 1024, level = 4, context = false }

local fields <const> = {
  { name = "threshold", type = "size", min = 0, max = 1 << 30 },
  { name = "level", type = "level" },
  { name = "context", type = "boolean" },
}

compression.expected =
  "true, false or { threshold = bytes, level = 1 to 9, context = true or false }"
compression.expected_text = 'true, false or fields, as in "threshold=2K level=3 context=true"'

--- Checks the value and fills in what a table leaves out.
---@param value any
---@param check_field fun(field: table, value: any): boolean, any  as option_types' `check`, with
---                      messages
---@return boolean ok
---@return any value_or_problems  a table, or false; nil for another kind of value; a list of
---                               messages
function compression.check(value, check_field)
  if type(value) == "boolean" then
    return true, value and compression.defaults
  elseif type(value) ~= "table" then
    return false
  end
  local checked, problems = option_fields.check(value, fields, check_field)
  for name, default in pairs(compression.defaults) do
    if checked[name] == nil then
      checked[name] = default
    end
  end
  return #problems == 0, #problems == 0 and checked or problems
end

local words <const> = {
  ["true"] = true, yes = true, ["1"] = true, on = true,
  ["false"] = false, no = false, ["0"] = false, off = false,
}

--- Reads the value from text: a word, or fields with spaces or commas between them. Returns nil for
--- another text.
---@param text string
---@return table|boolean|nil
function compression.from_text(text)
  if words[text:lower()] ~= nil then
    return words[text:lower()]
  end
  local value = option_fields.from_text(text)
  local context = value and words[tostring(value.context):lower()]
  if context ~= nil then
    value.context = context
  end
  return value
end

return compression
