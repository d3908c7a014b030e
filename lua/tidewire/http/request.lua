-- request.lua -- a client's request: the argument of `validate` and of HTTP routes, and
-- `conn.request`.
--
-- A request is one small table around the head as it was received, because every idle connection
-- keeps one. What every request has stands in the table's array, which takes 16 bytes a value; a
-- field takes 24, and Lua doubles their number. Each other field is computed when it is first read,
-- and kept then. The C parser has checked
-- the head (one space between method, target and version; CRLF; no folded lines), so nothing is
-- refused in this file. Runs in a worker's Lua state; knows nothing of routes (the caller sets
-- params) or of sockets.
--
-- No loop here may be quadratic in the length of the head, because clients write heads (see
-- headers.lua).

local headers = require "tidewire.base.headers"
local missing = require "tidewire.base.missing"
local uri = require "tidewire.base.uri"

---@class tidewire.Request
---@field method string                   "GET", "POST", …
---@field path string                     the path, percent-decoded, without the query
---@field params table<string, string>    what ":name" and "*" of the pattern matched, decoded
---@field query table<string, string>     decoded; a repeated name keeps its last value
---@field headers table<string, string>   looked up in any case; repeated ones joined with ", "
---@field cookies table<string, string>   as sent, not decoded; of a repeated name the first counts
---@field host string|nil                 the host it asks for, perhaps with a port
---@field remote_address string           the client's IP address, or "unix"
---@field secure boolean                  true on TLS
---@field tls tidewire.Tls|nil            on TLS of this server
---@field origin string|nil               the Origin header
---@field subprotocols string[]           what the client offers, in its order
---@field body string|nil                 plain HTTP requests only
local Request = {}

-- The indices of what every request keeps.
local HEAD <const>, REMOTE_ADDRESS <const>, SECURE <const>, STARTED <const> = 1, 2, 3, 4

-- The index of what only requests by way of a proxy keep.
local FORWARDED_HOST <const> = 5
-- And that of what only requests over TLS keep: C's text.
local TLS <const> = 6

local function target_of(head)
  return head:match("^[^ ]* ([^ \r\n]*)") or "/"
end

-- RFC 6265, 5.4: of cookies with the same name the client puts the more specific path first.
local function parse_cookies(text)
  local cookies = {}
  for pair in (text or ""):gmatch("[^;]+") do
    local equals = pair:find("=", 1, true)
    if equals then
      local name, value = headers.trim(pair:sub(1, equals - 1)), headers.trim(pair:sub(equals + 1))
      if cookies[name] == nil then
        cookies[name] = value:match('^"(.*)"$') or value
      end
    end
  end
  return cookies
end

--- Reads C's text: fields that end with a NUL each (push_tls in vm_events.c).
local function parse_tls(text)
  local parts = {}
  for part in text:gmatch("([^\0]*)\0") do
    parts[#parts + 1] = part ~= "" and part or false
  end
  local tls = {
    version = parts[1], cipher = parts[2], server_name = parts[3] or nil, alpn = parts[4] or nil,
    resumed = parts[5] ~= false,
  }
  if parts[10] then
    tls.client = {
      subject = parts[6] or "", issuer = parts[7] or "", serial = parts[8],
      fingerprint = parts[9], not_after = math.tointeger(parts[10]), verified = true,
      names = table.move(parts, 11, #parts, 1, {}),
    }
  end
  return tls
end

-- The fields that are not computed.
local kept <const> = { remote_address = REMOTE_ADDRESS, secure = SECURE }

-- One function for each field that is computed.
local fields = {
  method = function(self)
    return self[HEAD]:match("^[^ ]*")
  end,
  path = function(self)
    return uri.decode((uri.split_target(target_of(self[HEAD]))))
  end,
  params = function()
    return {}
  end,
  query = function(self)
    local _, raw_query = uri.split_target(target_of(self[HEAD]))
    return uri.parse_query(raw_query)
  end,
  host = function(self)
    return self[FORWARDED_HOST] or target_of(self[HEAD]):match("^%a[%w+.-]*://([^/?#]*)")
      or self.headers.host
  end,
  headers = function(self)
    return headers.parse(self[HEAD])
  end,
  cookies = function(self)
    return parse_cookies(self.headers.cookie)
  end,
  origin = function(self)
    return self.headers.origin
  end,
  tls = function(self)
    return self[TLS] and parse_tls(self[TLS])
  end,
  subprotocols = function(self)
    return headers.list(self.headers["sec-websocket-protocol"] or "")
  end,
}

--- The last name that a script has looked for and not found (missing.lua).
local looked_for = {} ---@type { name: any }

local metatable = {
  __name = "tidewire.request",
  __kind = "a request",
  __instead = "send the fields that are needed, such as request.path",
  __index = function(self, name)
    local index, compute = kept[name], fields[name]
    if index then
      return self[index]
    elseif not compute then
      looked_for.name = name
      return nil
    end
    local value = compute(self)
    rawset(self, name, value)
    return value
  end,
  -- The undecoded path and nothing else: no query, no header, no control character can be in it.
  __tostring = function(self)
    return ("request: %s %s from %s")
      :format(self.method, Request.raw_path(self), self.remote_address)
  end,
}

--- Makes a request of a head that the C parser has checked.
---@param head string            request line and headers, up to and including the empty line
---@param body string|nil        plain HTTP only
---@param remote_address string  an IP address, or "unix"
---@param secure boolean
---@param host string|nil        as a trusted proxy says; nil: it is that of the head
---@param params table<string, string>|nil  from the router, or set later as `request.params`
---@param tls string|nil  C's text about TLS
---@return tidewire.Request
function Request.new(head, body, remote_address, secure, host, params, tls)
  local request = tls and { head, remote_address, secure or false, false, host or false, tls }
    or { head, remote_address, secure or false, false } -- no larger than needed
  if host then
    request[FORWARDED_HOST] = host
  end
  if body then
    request.body = body
  end
  if params then
    request.params = params
  end
  return setmetatable(request, metatable)
end

--- The request as plain data, without the fields that are computed.
---@param request tidewire.Request
---@return table
function Request.save(request)
  local saved = table.move(request, 1, TLS, 1, {})
  saved.params = rawget(request, "params")
  return saved
end

--- The request of what Request.save has returned.
---@param saved table
---@return tidewire.Request
function Request.restore(saved)
  return setmetatable(saved, metatable)
end

--- Keeps when the connection of a handshake has started, in seconds since 1970.
---@param request tidewire.Request
---@param started number
function Request.set_start(request, started)
  request[STARTED] = started
end

--- That time.
---@param request tidewire.Request
---@return number
function Request.start(request)
  return request[STARTED]
end

--- The path as it was sent, still encoded, for the router.
---@param request tidewire.Request
---@return string
function Request.raw_path(request)
  return (uri.split_target(target_of(request[HEAD])))
end

--- Drops all fields that can be computed again, so that a connection whose `validate` read one
--- header does not keep all headers.
---@param request tidewire.Request
function Request.trim(request)
  for name in pairs(fields) do
    if name ~= "params" then
      rawset(request, name, nil)
    end
  end
end

--- The fields, as values of the types that they have.
local fields_as_values = {
  method = "", path = "", params = {}, query = {}, headers = {}, cookies = {}, remote_address = "",
  host = "", secure = "", origin = "", subprotocols = {}, body = "", tls = {},
}

missing.add {
  subject = "request",
  names = function()
    local names = { remote_address = ".", secure = ".", body = "." }
    for name in pairs(fields) do
      names[name] = "."
    end
    return names
  end,
  values = function() return fields_as_values end,
  looked_for = looked_for,
  is_open = true,
}

return Request
