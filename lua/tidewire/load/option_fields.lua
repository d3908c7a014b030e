-- option_fields.lua -- options whose value is a table of fields, as in { messages = 20, per = 1 }.
--
-- rates.lua, compression.lua and resume.lua have the fields. Pure functions, run as an app loads.

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

-- ---- options that are switched on or off, or are a table of details ----

local words <const> = {
  ["true"] = true, yes = true, ["1"] = true, on = true,
  ["false"] = false, no = false, ["0"] = false, off = false,
}

---@class tidewire.SwitchableOption
---@field defaults table<string, any>  what `true` means
---@field fields tidewire.OptionField[]
---@field expected string              for messages
---@field expected_text string         the same where the value is a text

--- Checks the value and fills in what a table leaves out.
---@param option tidewire.SwitchableOption
---@param value any
---@param check_field fun(field: table, value: any): boolean, any  as of option_fields.check()
---@return boolean ok
---@return any value_or_problems  a table, or false; nil for another kind of value; a list of
---                               messages
function option_fields.check_switchable(option, value, check_field)
  if type(value) == "boolean" then
    return true, value and option.defaults
  elseif type(value) ~= "table" then
    return false
  end
  local checked, problems = option_fields.check(value, option.fields, check_field)
  for name, default in pairs(option.defaults) do
    if checked[name] == nil then
      checked[name] = default
    end
  end
  return #problems == 0, #problems == 0 and checked or problems
end

--- Reads the value from text: a word, or fields with spaces or commas between them. Returns nil for
--- another text.
---@param option tidewire.SwitchableOption
---@param text string
---@return table|boolean|nil
function option_fields.switchable_from_text(option, text)
  if words[text:lower()] ~= nil then
    return words[text:lower()]
  end
  local value = option_fields.from_text(text)
  for _, field in ipairs(value and option.fields or {}) do
    local word = words[tostring(value[field.name]):lower()]
    if field.type == "boolean" and word ~= nil then
      value[field.name] = word
    end
  end
  return value
end

return option_fields
