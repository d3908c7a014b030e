-- option_fields.lua -- options whose value is a table of fields, as in { messages = 20, per = 1 }.
--
-- rates.lua and compression.lua have the fields. Pure functions, run while an app loads.

local suggest = require "tidewire.base.suggest"

local option_fields = {}

---@class tidewire.OptionField
---@field name string
---@field type string  a name of option_types, whose other fields (min, choices, …) may follow

--- Checks each field of a table.
---@param value table
---@param fields tidewire.OptionField[]
---@param check_field fun(field: table, value: any): boolean, any  as option_types' `check`, with
---                      messages
---@return table checked      normal values of what is there and right
---@return string[] problems  unknown fields first, then wrong values in the order of `fields`
function option_fields.check(value, fields, check_field)
  local checked, problems, names, known = {}, {}, {}, {}
  for i, field in ipairs(fields) do
    names[i], known[field.name] = field.name, true
  end
  for key in pairs(value) do
    if not known[key] then
      problems[#problems + 1] = ("there is no %s%s"):format(tostring(key), suggest.hint(key, names))
    end
  end
  table.sort(problems)
  for _, field in ipairs(fields) do
    if value[field.name] ~= nil then
      local ok, result = check_field(field, value[field.name])
      if ok then
        checked[field.name] = result
      else
        problems[#problems + 1] = ("%s: %s"):format(field.name, result)
      end
    end
  end
  return checked, problems
end

--- Reads fields from text, "messages=20 per=1", with spaces or commas between them. Returns nil for
--- another text.
---@param text string
---@return table<string, number|string>|nil
function option_fields.from_text(text)
  local value = {}
  for part in text:gmatch("[^%s,]+") do
    local name, given = part:match("^([%a_]+)=(.+)$")
    if not name or value[name] ~= nil then
      return nil
    end
    value[name] = tonumber(given) or given
  end
  return next(value) ~= nil and value or nil
end

return option_fields
