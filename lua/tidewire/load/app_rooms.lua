-- app_rooms.lua -- an app's `rooms`: which rooms have a memory, by patterns of their names, and how
-- much each remembers.
--
-- A table by pattern has no order in Lua, so the most specific pattern that fits counts; in a list
-- the first one. Runs while an app loads.

local option_types = require "tidewire.load.option_types"
local options = require "tidewire.load.options"

local app_rooms = {}

--- How much rooms whose names fit a pattern remember.
---@class tidewire.RoomRule
---@field pattern string           each * stands for any characters, or none
---@field presence boolean|nil     false: other machines of a cluster do not know the members
---@field history integer          messages; 0: the room has no history
---@field history_seconds number   0: they are not forgotten because of their age
---@field history_bytes integer
---@field retain_keys integer      messages, each the last one of its key; 0: none is retained
---@field retain_seconds number    as history_seconds
---@field retain_bytes integer

local MIB <const> = 1 << 20

options.declare("room", {
  { name = "presence", type = "boolean", default = true },
  { name = "history", type = "count" },
  { name = "history_seconds", type = "seconds", default = 0 },
  { name = "history_bytes", type = "size", min = 1, max = 1 << 40, default = MIB },
  { name = "retain", type = "boolean", default = false },
  { name = "retain_keys", type = "count", default = 1000 },
  { name = "retain_seconds", type = "seconds", default = 0 },
  { name = "retain_bytes", type = "size", min = 1, max = 1 << 40, default = MIB },
})

local function effective(checked, name)
  local spec = options.spec("room", name) --[[@as tidewire.OptionSpec]]
  return options.effective(spec, { checked })
end

--- A rule without a memory, for names that a less specific pattern would fit.
local function without_memory(pattern)
  return {
    pattern = pattern, history = 0, history_seconds = 0, history_bytes = 0,
    retain_keys = 0, retain_seconds = 0, retain_bytes = 0,
  }
end

--- What is set in vain: `retain_keys` without `retain`.
local function check_groups(report, place, name, checked)
  local is_given = { history = checked.history, retain = checked.retain }
  for _, option in ipairs { "history_seconds", "history_bytes", "retain_keys", "retain_seconds",
    "retain_bytes" } do
    local group = option:match("^%a+")
    if checked[option] ~= nil and not is_given[group] then
      report:error(place, ("%s: %s needs %s"):format(name, option,
        group == "history" and "history, the number of messages" or "retain = true"))
    end
  end
end

--- Reads one entry. `path`: its keys from `rooms` on.
local function read_rule(report, rules, pattern, given, name, path)
  local place = report:place("rooms", table.unpack(path))
  if given == false then
    rules[#rules + 1] = without_memory(pattern)
    return
  elseif type(given) ~= "table" then
    report:error(place, ("%s: expected a table such as { history = 100 }, got %s")
      :format(name, option_types.describe(given)))
    return
  end
  local checked, findings = options.check("room", given, name .. ".", { "rooms",
    table.unpack(path) })
  report:take(findings, report.file)
  if #findings.problems > 0 then
    return
  elseif not checked.history and not checked.retain and checked.presence == nil then
    report:error(place, name .. ": it needs history, the number of messages, or retain = true, or "
      .. "presence = false")
    return
  end
  check_groups(report, place, name, checked)
  rules[#rules + 1] = {
    pattern = pattern,
    history = checked.history or 0,
    history_seconds = effective(checked, "history_seconds"),
    history_bytes = effective(checked, "history_bytes"),
    retain_keys = checked.retain and effective(checked, "retain_keys") or 0,
    retain_seconds = effective(checked, "retain_seconds"),
    retain_bytes = effective(checked, "retain_bytes"),
  }
  if checked.presence == false then
    rules[#rules].presence = false
  end
end

--- Why this can be no pattern; nil: it can.
local function pattern_problem(pattern)
  if type(pattern) ~= "string" or pattern == "" then
    return ("a pattern of names is expected, such as \"chat:*\", got %s")
      :format(pattern == "" and '""' or option_types.describe(pattern))
  elseif pattern:find("\0", 1, true) then
    return "a pattern has no zero bytes"
  end
end

--- The length of the text before the first star.
local function literal(pattern)
  return #pattern:match("^[^*]*")
end

--- The most specific pattern first: a whole name, then the pattern with the longest text before its
--- first star, and of two such ones the longer.
local function is_more_specific(one, other)
  local a, b = one.pattern, other.pattern
  local is_name, other_is_name = literal(a) == #a, literal(b) == #b
  if is_name ~= other_is_name then
    return is_name
  elseif literal(a) ~= literal(b) then
    return literal(a) > literal(b)
  elseif #a ~= #b then
    return #a > #b
  end
  return a < b
end

local function read_table(report, given)
  local rules, keys = {}, {}
  for pattern in pairs(given) do
    keys[#keys + 1] = pattern
  end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, pattern in ipairs(keys) do
    local problem = pattern_problem(pattern)
    if problem then
      report:error(report:place("rooms"), "rooms: " .. problem)
    else
      read_rule(report, rules, pattern, given[pattern],
        ("rooms[%s]"):format(option_types.quote(pattern)), { pattern })
    end
  end
  table.sort(rules, is_more_specific)
  return rules
end

--- An entry of a list is { "chat:*", history = 100 }, or { "chat:*", false }.
local function read_list(report, given)
  local rules = {}
  for key in pairs(given) do
    if math.type(key) ~= "integer" or key < 1 or key > #given then
      report:error(report:place("rooms", key), ("rooms: a list has no entry [%s]: write either "
        .. 'a list, { { "chat:*", history = 100 } }, or { ["chat:*"] = { history = 100 } }')
        :format(option_types.describe(key)))
    end
  end
  for i, entry in ipairs(given) do
    local name = ("rooms[%d]"):format(i)
    local problem = type(entry) ~= "table"
      and ('expected an entry such as { "chat:*", history = 100 }, got %s')
        :format(option_types.describe(entry))
      or pattern_problem(entry[1])
    if problem then
      report:error(report:place("rooms"), ("%s: %s"):format(name, problem))
    else
      local fields = entry[2]
      if fields == nil then
        fields = {}
        for key, value in pairs(entry) do
          if key ~= 1 then
            fields[key] = value
          end
        end
      end
      read_rule(report, rules, entry[1], fields, name, {})
    end
  end
  return rules
end

--- Reads the option. Problems go to the report.
---@param report tidewire.AppReport
---@param given any  the option, a table, or nil
---@return tidewire.RoomRule[]  of which the first that fits a name counts
function app_rooms.read(report, given)
  if not given then
    return {}
  end
  return given[1] ~= nil and read_list(report, given) or read_table(report, given)
end

return app_rooms
