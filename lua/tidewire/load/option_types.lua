-- option_types.lua -- the types of options: how a value of each type is checked, and read from
-- text.
--
-- A type describes what it expects, in words that follow "expected". It checks a Lua value and
-- returns its normal form (a size "1M" becomes 1048576). Types of options that have an environment
-- variable also read text. Pure functions, run while an app loads and for arguments of the API.
-- Knows no option by name: options.lua has those.

local conn_names = require "tidewire.base.conn_names"
local cluster_option = require "tidewire.load.cluster_option"
local compression = require "tidewire.load.compression"
local headers = require "tidewire.base.headers"
local option_fields = require "tidewire.load.option_fields"
local origins = require "tidewire.load.origins"
local rates = require "tidewire.load.rates"
local resume = require "tidewire.load.resume"
local suggest = require "tidewire.base.suggest"

---@class tidewire.OptionType
---@field expected fun(spec: table): string             "a number of seconds, 0 or more"
---@field expected_text string|nil                      the same for text, where it differs
--- check: returns true and the normal value; or false and nil (the value is of another kind), a
--- text or a list of texts (the problems in detail).
---@field check fun(value: any, spec: table, facts: table): boolean, any
---@field from_text nil|fun(text: string): any  a value for `check`, nil if it cannot be one

---@type table<string, tidewire.OptionType>
local types = {}

local option_types = { types = types }

local LONGEST_QUOTE = 60

--- The kind of a value: "table", "a connection", "tw itself: call it with a dot, …".
---@param value any
---@return string
function option_types.kind(value)
  local metatable = type(value) == "table" and getmetatable(value)
  return type(metatable) == "table" and rawget(metatable, "__kind") or type(value)
end

--- A value in the words of a message: `string "30"`, `-1`, `table`, `a connection`.
---@param value any
---@return string
function option_types.describe(value)
  local kind = option_types.kind(value)
  if kind == "string" then
    return "string " .. option_types.quote(value)
  elseif kind == "number" or kind == "boolean" then
    return tostring(value)
  end
  return kind
end

--- A text in quotes, cut to one line.
---@param text string
---@return string
function option_types.quote(text)
  if #text > LONGEST_QUOTE then
    text = text:sub(1, LONGEST_QUOTE) .. "…"
  end
  return '"' .. text:gsub("%c", "?") .. '"'
end

--- Splits a list in an environment variable, by commas as in a header. It may have several lines.
local function split_commas(text)
  return headers.list((text:gsub("%s", " ")))
end

local function constant(text)
  return function()
    return text
  end
end

--- The result of a check that returns no message of its own.
local function accept(ok, value)
  if ok then
    return true, value
  end
  return false
end

local function itself(text)
  return text
end

local function to_number(text)
  return text:find("^%s*%d*%.?%d*%s*$") and tonumber(text) or nil
end

types["function"] = {
  expected = constant "a function",
  check = function(value)
    return accept(type(value) == "function", value)
  end,
}
types.hook = types["function"]

types.table = {
  expected = constant "a table",
  check = function(value)
    return accept(type(value) == "table", value)
  end,
}
types.group = types.table

types.boolean = {
  expected = constant "true or false",
  expected_text = "true, false, yes, no, 1 or 0",
  check = function(value)
    return accept(type(value) == "boolean", value)
  end,
  from_text = function(text)
    local words = {
      ["true"] = true, yes = true, ["1"] = true, ["false"] = false, no = false, ["0"] = false,
    }
    return words[text:lower()]
  end,
}

local LONGEST_SECONDS, SHORTEST_SECONDS = 1e9, 0.001 -- the clock counts milliseconds

types.seconds = {
  expected = function(spec)
    return spec.positive and "a number of seconds, more than 0" or "a number of seconds, 0 or more"
  end,
  check = function(value, spec)
    if type(value) ~= "number" or value ~= value or value < 0 or spec.positive and value == 0 then
      return false
    elseif value > LONGEST_SECONDS then
      return false,
        ("%s seconds are too many%s"):format(value, spec.positive and "" or "; 0 stands for never")
    elseif value > 0 and value < SHORTEST_SECONDS then
      return false, ("%s seconds are too few: the shortest time is 0.001"):format(value)
    end
    return true, value
  end,
  from_text = to_number,
}

local UNITS = { [""] = 1, K = 1 << 10, M = 1 << 20, G = 1 << 30 }

local function read_size(text)
  local digits, unit = text:match("^(%d%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?)%s*([KMGkmg]?)[iI]?[bB]?$")
  if not digits then
    return nil
  end
  local count, factor = math.tointeger(tonumber(digits)), UNITS[unit:upper()]
  return count and count <= math.maxinteger // factor and count * factor or nil
end

-- 1048576 -> "1M", 1000 -> "1000"
local function write_size(size)
  for _, unit in ipairs { "G", "M", "K" } do
    if size % UNITS[unit] == 0 then
      return ("%d%s"):format(size // UNITS[unit], unit)
    end
  end
  return ("%d"):format(size)
end

types.size = {
  expected = function(spec)
    return ('a size in bytes from %d to %s, or a text such as "64K" or "1M"')
      :format(spec.min, write_size(spec.max))
  end,
  check = function(value, spec)
    local size
    if type(value) == "string" then
      size = read_size(value)
    else
      size = math.type(value) and math.tointeger(value)
    end
    return accept(size ~= nil and size >= spec.min and size <= spec.max, size)
  end,
  from_text = itself,
}

--- A number would be read as a decimal one: 600 is not 0600.
types.permissions = {
  expected = constant 'permissions as an octal text, such as "0600"',
  check = function(value)
    local digits = type(value) == "string" and value:match("^[0-7][0-7][0-7][0-7]?$")
    return accept(digits ~= nil and digits ~= false, digits and tonumber(digits, 8))
  end,
}

local LARGEST_COUNT = (1 << 31) - 1

types.count = {
  expected = constant "a whole number, 1 or more",
  check = function(value)
    local count = math.type(value) and math.tointeger(value)
    if count and count > LARGEST_COUNT then
      return false, ("%d is too many: the largest number is %d"):format(count, LARGEST_COUNT)
    end
    return accept(count ~= nil and count >= 1, count)
  end,
  from_text = to_number,
}

-- a connection's number has so much room for them (src/core/hub/events.h)
local MOST_WORKERS <const> = 128

types.workers = {
  expected = constant(('a whole number from 1 to %d, or "auto"'):format(MOST_WORKERS)),
  check = function(value)
    if value == "auto" then
      return true, value
    end
    local count = math.type(value) and math.tointeger(value)
    return accept(count ~= nil and count >= 1 and count <= MOST_WORKERS, count)
  end,
  from_text = function(text)
    return to_number(text) or text
  end,
}

local function quoted_choices(choices)
  local quoted = {}
  for i, choice in ipairs(choices) do
    quoted[i] = ('"%s"'):format(choice)
  end
  return table.concat(quoted, " or ")
end

types.choice = {
  expected = function(spec)
    return quoted_choices(spec.choices)
  end,
  check = function(value, spec)
    for _, choice in ipairs(spec.choices) do
      if value == choice then
        return true, value
      end
    end
    return false
  end,
  from_text = itself,
}

types.text = {
  expected = constant "a text that is not empty",
  check = function(value)
    if type(value) == "string" and not utf8.len(value) then
      return false, "a text in UTF-8 is expected"
    elseif type(value) == "string" and value:find("%c") then
      return false, "a text on one line, without control characters, is expected"
    end
    return accept(type(value) == "string" and value ~= "", value)
  end,
  from_text = itself,
}

--- A text, or false for none.
types.file = {
  expected = constant "the name of a file",
  check = types.text.check,
  from_text = itself,
}

types.string = {
  expected = constant "a string",
  check = function(value)
    return accept(type(value) == "string", value)
  end,
}

--- Any bytes but zeros, as in the name of a file.
types.bytes = {
  expected = constant "a string without zero bytes",
  check = function(value)
    return accept(type(value) == "string" and not value:find("\0", 1, true), value)
  end,
}

types.codec = {
  expected = constant '"text", "binary", "json" or { decode = function, encode = function }',
  check = function(value)
    if type(value) == "string" then
      local known = { "text", "binary", "json" }
      for _, name in ipairs(known) do
        if value == name then
          return true, value
        end
      end
      return false,
        ("there is no codec %s%s"):format(option_types.quote(value), suggest.hint(value, known))
    elseif type(value) ~= "table" then
      return false
    end
    local problems = {}
    for key in pairs(value) do
      if key ~= "decode" and key ~= "encode" then
        problems[#problems + 1] = ('a codec has no field "%s"%s')
          :format(tostring(key), suggest.hint(key, { "decode", "encode" }))
      end
    end
    for _, key in ipairs { "decode", "encode" } do
      if type(value[key]) ~= "function" then
        problems[#problems + 1] = ("a codec of your own needs %s, a function; got %s")
          :format(key, option_types.describe(value[key]))
      end
    end
    table.sort(problems)
    return #problems == 0, #problems == 0 and value or problems
  end,
}

types.origins = {
  expected = constant "a list of Origins or a function",
  check = function(value)
    if type(value) ~= "string" and type(value) ~= "table" and type(value) ~= "function" then
      return false
    end
    local check, problems = origins.compile(value)
    return check ~= nil, check and value or problems
  end,
  from_text = split_commas,
}

-- RFC 9110, 5.6.2
local function is_token(text)
  return text:find("^[%w!#$%%&'*+.^_`|~-]+$") ~= nil
end

-- "example.com", "*.example.com": labels of letters, digits and "-" (RFC 6125, 6.4.3).
local function is_server_name(text)
  local rest = text:gsub("^%*%.", "")
  return #text <= 253 and rest:find("^[%w_-][%w_.-]*$") ~= nil and not rest:find("..", 1, true)
    and not rest:find("^[%d.]+$")
end

types.server_names = {
  expected = constant 'a list of names, as in { "example.com", "*.example.com" }',
  check = function(value)
    if type(value) == "string" then
      value = { value }
    elseif type(value) ~= "table" or #value == 0 then
      return false
    end
    local problems = {}
    for _, name in ipairs(value) do
      if type(name) ~= "string" or not is_server_name(name) then
        problems[#problems + 1] = ("%s is no server name: expected \"example.com\" or "
          .. "\"*.example.com\""):format(option_types.describe(name))
      end
    end
    return #problems == 0, #problems == 0 and value or problems
  end,
  from_text = split_commas,
}

types.subprotocols = {
  expected = constant 'a list of names, as in { "chat.v2", "chat.v1" }',
  check = function(value)
    if type(value) == "string" then
      value = { value }
    elseif type(value) ~= "table" then
      return false
    end
    local problems, seen, list = {}, {}, {}
    for key in pairs(value) do
      if math.type(key) ~= "integer" or key < 1 or key > #value then
        return false,
          ("a list of names is expected, and [%s] is no place in a list"):format(tostring(key))
      end
    end
    for i, name in ipairs(value) do
      if type(name) ~= "string" or not is_token(name) then
        problems[#problems + 1] =
          ("%s is no subprotocol: a name is one word of letters, digits and !#$%%&'*+-.^_`|~")
            :format(option_types.describe(name))
      elseif seen[name] then
        problems[#problems + 1] = ('"%s" comes twice'):format(name)
      else
        seen[name], list[i] = true, name
      end
    end
    return #problems == 0, #problems == 0 and list or problems
  end,
  from_text = split_commas,
}

--- Of TLS (RFC 7301).
types.protocols = {
  expected = constant 'a list of names, as in { "h2", "http/1.1" }',
  check = function(value)
    local list = type(value) == "string" and { value } or value
    if type(list) ~= "table" then
      return false
    end
    for _, name in ipairs(list) do
      if type(name) ~= "string" or #name < 1 or #name > 255 then
        return false
      end
    end
    return #list > 0, list
  end,
}

-- zlib's
types.level = {
  expected = constant "an integer from 1 (fast) to 9 (small)",
  check = function(value)
    local level = math.tointeger(value)
    return accept(type(value) == "number" and level and level >= 1 and level <= 9, level)
  end,
}

--- A field of a table: the message of a problem has what is expected.
local function check_field(field, value)
  local kind = types[field.type]
  local ok, result = kind.check(value, field)
  if ok or result then
    return ok, result
  end
  local hint = field.choices and suggest.hint(value, field.choices) or ""
  return false,
    ("expected %s, got %s%s"):format(kind.expected(field), option_types.describe(value), hint)
end

types.rate = {
  expected = rates.expected,
  expected_text = 'names and values, as in "per=1 burst=40"',
  check = function(value, spec)
    return rates.check(value, spec, check_field)
  end,
  from_text = rates.from_text,
}

--- The type of an option that is on, off or a table.
---@param option tidewire.SwitchableOption
local function switchable(option)
  return {
    expected = constant(option.expected),
    expected_text = option.expected_text,
    check = function(value)
      return option_fields.check_switchable(option, value, check_field)
    end,
    from_text = function(text)
      return option_fields.switchable_from_text(option, text)
    end,
  }
end

types.compression = switchable(compression)
types.resume = switchable(resume)

--- A field of the script's own, which `validate` sets, or a function(conn).
types.user = {
  expected = constant 'the name of a field that validate returns, as in "username", or a function',
  check = function(value)
    if type(value) == "function" then
      return true, value
    elseif type(value) ~= "string" or value == "" then
      return false
    elseif conn_names[value] then
      return false, ('%s is of every connection itself, and names no user; write a field that '
        .. 'validate returns, or a function(conn)'):format(option_types.quote(value))
    end
    return true, value
  end,
}

types.address = {
  expected = constant 'an address, as in "127.0.0.1:8080" or "unix:/run/app.sock"',
  check = function(value, _, facts)
    if type(value) ~= "string" or value == "" then
      return false
    elseif facts.check_address then
      local ok, message = facts.check_address(value)
      return ok and true or false, ok and value or message
    end
    return true, value
  end,
  from_text = itself,
}

--- Checks a list of texts, or one text, each by a function of the server.
---@param value any
---@param check nil|fun(text: string): any, string|nil  nil: each text is good
---@param expected string  what an item is
local function check_texts(value, check, expected)
  if type(value) == "string" then
    value = { value }
  elseif type(value) ~= "table" then
    return false
  end
  local problems = {}
  for key, item in pairs(value) do
    if math.type(key) ~= "integer" or key < 1 or key > #value then
      return false
    end
    local is_text = type(item) == "string" and item ~= ""
    local ok, message = is_text, nil
    if is_text and check then
      ok, message = check(item)
    end
    if not ok then
      problems[#problems + 1] = message or ("expected %s, got %s")
        :format(expected, option_types.describe(item))
    end
  end
  return #problems == 0, #problems == 0 and { table.unpack(value) } or problems
end

types.addresses = {
  expected = constant 'a list of addresses, as in { "127.0.0.1:8080", "unix:/run/app.sock" }',
  check = function(value, spec, facts)
    if type(value) == "table" and #value == 0 then
      return false
    end
    return check_texts(value, facts.check_address, types.address.expected(spec))
  end,
  from_text = split_commas,
}

-- Of a Host header, without its port; the admin address knows IP addresses and localhost itself.
local function check_host(text)
  if text == "*" or text:find("^[%w_-][%w_.-]*$") then
    return true
  elseif text:find("://", 1, true) then
    return nil, ("%s: write the name alone, without the scheme"):format(option_types.quote(text))
  elseif text:find("^[%w_.-]+:%d*$") then
    return nil, ("%s: write the name without the port"):format(option_types.quote(text))
  end
  return nil, ("%s: this is no host name"):format(option_types.quote(text))
end

types.hosts = {
  expected = constant 'a list of host names, as in { "prometheus.example.com" }, or "*"',
  check = function(value)
    return check_texts(value, check_host, 'a host name, as in "prometheus.example.com"')
  end,
  from_text = split_commas,
}

--- Redis servers that join several machines.
types.cluster = {
  expected = constant(cluster_option.expected),
  check = function(value, _, facts)
    return cluster_option.check(value, facts.check_cluster_url, check_field)
  end,
  from_text = split_commas,
}

types.trusted_proxies = {
  expected = constant 'a list of addresses and networks, as in { "127.0.0.1", "10.0.0.0/8" }',
  check = function(value, _, facts)
    return check_texts(value, facts.check_trusted_proxy,
      'an address, a network or "unix", as in "10.0.0.0/8"')
  end,
  from_text = split_commas,
}

return option_types
