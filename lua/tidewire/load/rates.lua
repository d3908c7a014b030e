-- rates.lua -- checks the options that are rates: so many things in so much time, and a burst.
--
-- { messages = 20, per = 1, burst = 40 } is a bucket of 40 tokens, which 20 tokens refill each
-- second. An option's spec names what it counts (`unit`), and whether it may also count bytes and
-- choose an action. Pure functions, run while an app loads.

local option_fields = require "tidewire.load.option_fields"

local rates = {}

local ACTIONS <const> = { "close", "drop", "pause" }
local MOST_BYTES <const> = 1 << 40

--- The fields that the option's table may have, in the order of messages.
local function fields_of(spec)
  local fields = {
    { name = spec.unit, type = "count" },
    { name = "per", type = "seconds", positive = true },
    { name = "burst", type = "count" },
  }
  if spec.bytes then
    table.insert(fields, { name = "bytes", type = "size", min = 1, max = MOST_BYTES })
    table.insert(fields, { name = "burst_bytes", type = "size", min = 1, max = MOST_BYTES })
  end
  if spec.actions then
    table.insert(fields, { name = "action", type = "choice", choices = ACTIONS })
  end
  return fields
end

local function example(spec)
  return ("{ %s = 20, per = 1, burst = 40 }"):format(spec.unit)
end

--- What is expected, for a message.
---@param spec table
---@return string
function rates.expected(spec)
  return "a rate, as in " .. example(spec)
end

--- Checks a rate and fills in what it leaves out: `per` is 1, a burst as much as comes back in
--- `per`, the action "close".
---@param value any
---@param spec table     { unit = "messages", bytes = boolean|nil, actions = boolean|nil }
---@param check_field fun(field: table, value: any): boolean, any  as option_types' `check`, with
---                      messages
---@return boolean ok
---@return any rate_or_problems  the rate; nil for another kind of value; a list of messages
function rates.check(value, spec, check_field)
  if value == false then
    return true, false -- no limit
  elseif type(value) ~= "table" then
    return false
  end
  local rate, problems = option_fields.check(value, fields_of(spec), check_field)
  local counts, bytes = value[spec.unit] ~= nil, spec.bytes and value.bytes ~= nil
  if not counts and not bytes then
    problems[#problems + 1] = ("it needs %s%s, as in %s")
      :format(spec.unit, spec.bytes and " or bytes" or "", example(spec))
  end
  if value.burst ~= nil and not counts then
    problems[#problems + 1] = ("burst has no effect without %s"):format(spec.unit)
  end
  if spec.bytes and value.burst_bytes ~= nil and not bytes then
    problems[#problems + 1] = "burst_bytes has no effect without bytes"
  end
  if #problems > 0 then
    return false, problems
  end
  rate.per = rate.per or 1
  rate.burst = rate.burst or rate[spec.unit]
  rate.burst_bytes = rate.burst_bytes or rate.bytes
  if spec.actions then
    rate.action = rate.action or "close"
  end
  return true, rate
end

--- Reads a rate from text, "messages=20 per=1 burst=40", with spaces or commas; "none" is false.
--- Returns nil for another text.
---@param text string
---@return table|false|nil
function rates.from_text(text)
  if text:lower():find("^%s*none%s*$") then
    return false
  end
  return option_fields.from_text(text)
end

return rates
