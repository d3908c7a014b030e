-- headers.lua -- header fields of HTTP, read from a head and written as lines.
--
-- Used for requests (request.lua), responses (replies.lua) and requests to other servers
-- (http/client.lua). A parser in C has checked the heads that are read here, so reading refuses
-- nothing; fields that scripts send are checked. Keeps nothing.
--
-- No loop here may be quadratic in the length of a head, because clients write heads. Hence no lazy
-- patterns ("(.-)%s*$") on values.

local headers = {}

local SPACE, TAB = 32, 9

--- The text without spaces and tabs at its ends, in linear time.
---@param text string
---@return string
function headers.trim(text)
  local first, last = text:find("[^ \t]") or #text + 1, #text
  while last >= first and (text:byte(last) == SPACE or text:byte(last) == TAB) do
    last = last - 1
  end
  return text:sub(first, last)
end

-- ---- reading ----

--- The elements of a comma-separated list (RFC 9110 section 5.6.1), trimmed, without empty ones.
---@param text string
---@return string[]
function headers.list(text)
  local items = {}
  for item in text:gmatch("[^,]+") do
    item = headers.trim(item)
    if item ~= "" then
      items[#items + 1] = item
    end
  end
  return items
end

-- Names are kept in lower case; a look-up that finds nothing tries again in lower case.
local Headers = {
  __name = "tidewire.headers",
  __index = function(self, name)
    return type(name) == "string" and rawget(self, name:lower()) or nil
  end,
  __tostring = function()
    return "headers" -- never their values: they hold tokens and cookies
  end,
}

--- The fields of a head, without its first line. Names are kept in lower case and looked up in any
--- case; repeated fields are joined.
---@param head string
---@return table<string, string>
function headers.parse(head)
  local found, several = {}, {}
  for name, value in head:gmatch("\n([^:\r\n]+):([^\r\n]*)") do
    name, value = name:lower(), headers.trim(value)
    if not found[name] then
      found[name] = value
    else
      several[name] = several[name] or { found[name] }
      table.insert(several[name], value)
    end
  end
  for name, values in pairs(several) do
    -- RFC 9110, 5.3; a Cookie header's own separator is the semicolon (RFC 6265, 4.2.1).
    found[name] = table.concat(values, name == "cookie" and "; " or ", ")
  end
  return setmetatable(found, Headers)
end

-- ---- writing ----

--- Is it a token (RFC 9110 section 5.6.2), as the names of headers and of subprotocols are?
---@param text string
---@return boolean
function headers.is_token(text)
  return text:find("^[%w!#$%%&'*+.^_`|~-]+$") ~= nil
end

-- The headers of a client's handshake itself, and those of a body.
local OF_HANDSHAKE = {
  ["upgrade"] = true, ["connection"] = true, ["sec-websocket-key"] = true,
  ["sec-websocket-version"] = true, ["sec-websocket-protocol"] = true,
  ["sec-websocket-extensions"] = true, ["content-length"] = true, ["transfer-encoding"] = true,
}

--- What is wrong with a line that a client adds to its handshake; nil: it is "Name: value".
---@param line string  without its end
---@return string|nil
function headers.handshake_fault(line)
  local name, value = line:match("^([^:]*):(.*)$")
  if not name or not headers.is_token(name) then
    return 'expected "Name: value"'
  elseif value:gsub("\t", ""):find("%c") then
    return "a header cannot have a line end or another control character"
  elseif OF_HANDSHAKE[name:lower()] then
    return "the handshake sets this header itself (a subprotocol has its own option)"
  end
end

--- One field as a line. Throws for a name or value that would break the message (RFC 9110 section
--- 5.5).
local function line_of(name, value)
  if type(name) ~= "string" or not headers.is_token(name) then
    error(("%q is no header name"):format(tostring(name)), 0)
  end
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
    error(("header %s: a value must be a string, got a %s"):format(name, kind), 0)
  end
  local text = tostring(value)
  if text:find("[%c]") then
    error(("header %s: a value cannot have line ends or control characters"):format(name), 0)
  end
  return ("%s: %s\r\n"):format(name, text)
end

--- The fields of a table as lines; a list as value gives several lines. Throws, without a place,
--- for names and values that would break the message.
---@param fields table<string, string|string[]>
---@return string  whole lines, "Name: value\r\n"
function headers.lines(fields)
  if type(fields) ~= "table" then
    error(("headers must be a table of names and values, got %s"):format(type(fields)), 0)
  end
  local lines = {}
  for name, values in pairs(fields) do
    for _, value in ipairs(type(values) == "table" and values or { values }) do
      lines[#lines + 1] = line_of(name, value)
    end
  end
  table.sort(lines)
  return table.concat(lines)
end

--- A copy of the fields with one more, unless they have it already.
---@param fields table<string, string|string[]>|nil
---@param name string
---@param value string
---@return table<string, string|string[]>
function headers.with(fields, name, value)
  local result = { [name] = value }
  for key, old in pairs(fields or {}) do
    if tostring(key):lower() == name:lower() then
      result[name] = nil
    end
    result[key] = old
  end
  return result
end

return headers
