-- uri.lua -- parses request targets: percent-decoding, path and query.
--
-- Pure functions on strings. Runs in a worker's Lua state. Knows nothing of requests, routes or
-- files. It does not refuse paths ("..", NUL): the code that opens files must.

local uri = {}

local function from_hex(digits)
  return string.char(tonumber(digits, 16))
end

--- Decodes %XX (RFC 3986, 2.1). Invalid escapes stay as they are.
---@param text string
---@return string
function uri.decode(text)
  if not text:find("%", 1, true) then
    return text
  end
  return (text:gsub("%%(%x%x)", from_hex))
end

local function decode_form(text)
  return uri.decode((text:gsub("%+", " ")))
end

--- Splits a request target into its path and its query, both still encoded. Takes the origin form
--- ("/a?b=1") and the absolute form ("http://host/a?b=1"; RFC 9112, 3.2); any other, such as "*",
--- comes back as the path.
---@param target string
---@return string raw_path
---@return string|nil raw_query  without the "?"; nil if the target has none
function uri.split_target(target)
  local rest = target:match("^%a[%w+.-]*://[^/?]*(.*)$") or target
  local question = rest:find("?", 1, true)
  local raw_path = rest:sub(1, (question or 0) - 1)
  local raw_query = question and rest:sub(question + 1)
  if raw_path == "" then
    raw_path = "/"
  end
  return raw_path, raw_query
end

--- Decodes a query ("a=1&b=two+words") to a table of values by name. A name that comes more than
--- once keeps its last value; a name without "=" has the value "".
---@param raw_query string|nil
---@return table<string, string>
function uri.parse_query(raw_query)
  local values = {}
  for pair in (raw_query or ""):gmatch("[^&]+") do
    local equals = pair:find("=", 1, true)
    local name = decode_form(pair:sub(1, (equals or 0) - 1))
    values[name] = equals and decode_form(pair:sub(equals + 1)) or ""
  end
  return values
end

return uri
