-- client.lua -- `tw.http`: requests to other servers.
--
-- Checks and completes the script's request, gives it to C as plain values (bind_http_client.c),
-- and waits for the response as tw.sleep waits: other connections go on. Misuse throws at the
-- script's line; failures of the network or the other server are nil and a message. Keeps nothing.

local async = require "tidewire.async"
local core = require "tidewire.core"
local header_fields = require "tidewire.base.headers"
local json = require "tidewire.json"
local missing = require "tidewire.base.missing"
local misuse = require "tidewire.base.misuse"
local option_types = require "tidewire.load.option_types"

---@class tidewire.http
local http_client = {}

local WAIT = core.wait_marker
local raw_yield = coroutine.yield

local OPTIONS = { "url", "method", "headers", "body", "timeout", "max_bytes", "redirects" }

-- Fields that say how the bytes are sent. libcurl alone sets them.
local RESERVED = {
  connection = true, ["content-length"] = true, expect = true, te = true, trailer = true,
  ["transfer-encoding"] = true, upgrade = true,
}

-- ---- the script's arguments ----

local NAME = "tw.http.request: "

local function throw(message, ...)
  misuse.throw(NAME .. message, ...)
end

local function check_names(options)
  if type(options) ~= "table" or missing.is_module(options) then
    throw("a table of options is needed, got %s", option_types.kind(options))
  end
  misuse.check_names(options, OPTIONS, NAME)
end

local function check_url(url)
  if type(url) ~= "string" then
    throw("url must be a string, got %s", type(url))
  elseif not url:find("^[Hh][Tt][Tt][Pp][Ss]?://") then
    throw("url must begin with http:// or https://, got %q", url)
  end
  local at = url:find("[^\x21-\x7e]")
  if at then
    throw("url has a character at byte %d that must be percent-encoded (%%%02X)", at, url:byte(at))
  end
  local ok, problem = core.http_check_url(url)
  if not ok then
    throw("url is none that can be asked for: %s", problem)
  end
  return url
end

--- The method in capitals; without one, GET, or POST where there is a body.
local function check_method(method, body)
  if method == nil then
    return body == nil and "GET" or "POST"
  elseif type(method) ~= "string" or not method:find("^[%w!#$%%&'*+.^_`|~-]+$") then
    throw('method must be a word such as "GET", got %s',
      type(method) == "string" and ("%q"):format(method) or type(method))
  end
  method = method:upper()
  if method == "CONNECT" then
    throw "CONNECT is no request to a resource"
  elseif method == "HEAD" and body ~= nil then
    throw "a HEAD request has no body"
  end
  return method
end

local function check_headers(headers)
  if headers == nil then
    return {}
  elseif type(headers) ~= "table" then
    throw("headers must be a table of names and values, got %s", type(headers))
  end
  for name, values in pairs(headers) do
    if type(name) == "string" and RESERVED[name:lower()] then
      throw("the header %s is set by itself", name)
    end
    for _, value in ipairs(type(values) == "table" and values or { values }) do
      if type(value) ~= "string" and type(value) ~= "number" then
        throw("header %s: a string is needed, got %s", tostring(name), type(value))
      end
    end
  end
  return headers
end

--- The body as a string and the headers that go with it.
local function check_body(body, headers, method)
  if type(body) == "table" or body == json.null then
    local ok, text = pcall(json.encode, body)
    if not ok then
      throw("the body cannot be JSON: %s", text)
    end
    return text, header_fields.with(headers, "Content-Type", "application/json")
  elseif body ~= nil and type(body) ~= "string" then
    throw("body must be a string, or a table, which is sent as JSON; got %s", type(body))
  elseif body == nil and (method == "POST" or method == "PUT" or method == "PATCH") then
    body = "" -- so that Content-Length: 0 is sent (RFC 9110 section 8.6)
  end
  return body, headers
end

local function check_number(options, name, default, least, most)
  local value = options[name]
  if value == nil then
    return default
  elseif type(value) ~= "number" or not (value >= least and value <= most) then
    throw("%s must be a number from %.15g to %.15g, got %s", name, least, most,
      type(value) == "number" and tostring(value) or type(value))
  end
  return value
end

local function check_integer(options, name, default, least, most)
  local value = math.tointeger(check_number(options, name, default, least, most))
  return value or throw("%s must be an integer, got %s", name, tostring(options[name]))
end

local function check(options)
  check_names(options)
  local order =
    { url = check_url(options.url), method = check_method(options.method, options.body) }
  local headers
  order.body, headers = check_body(options.body, check_headers(options.headers), order.method)
  local ok, lines = pcall(header_fields.lines, headers)
  order.headers = ok and lines or throw("%s", lines)
  order.timeout = check_number(options, "timeout", 10, 0.001, 86400)
  order.max_bytes = check_integer(options, "max_bytes", 8 << 20, 0, 1 << 30)
  order.redirects = check_integer(options, "redirects", 0, 0, 100)
  return order
end

-- ---- the request ----

-- Forgets a request when the function that made it ends, with or without an error.
local Pending = {
  __close = function(pending)
    core.http_end(pending.number)
    async.end_wait(pending.task, pending.has_ended)
  end,
}

---@class tidewire.http.Request
---@field url string                               http://… or https://…, percent-encoded
---@field method string|nil                        "GET", or "POST" where there is a body
---@field headers table<string, string|string[]>|nil
---@field body string|table|nil                    a table is sent as JSON
---@field timeout number|nil                       seconds for all of it; 10
---@field max_bytes integer|nil                    of the answer's body; 8 MiB
---@field redirects integer|nil                    how many are followed; 0

---@class tidewire.http.Response
---@field status integer
---@field headers table<string, string>  looked up in any case; repeated ones are joined with ", "
---@field body string                    "" where there is none

--- Sends a request to another server, and waits for the response, of any status.
---
--- Returns nil and a message for failures: "connection refused", "could not resolve host", "timed
--- out after 10 s", "the answer is larger than 8388608 bytes", … Throws for misuse, and where
--- nothing can wait.
---@param request tidewire.http.Request
---@return tidewire.http.Response|nil response
---@return string|nil message
function http_client.request(request)
  local order = misuse.blame_caller(check, request)
  local task = async.this_task("tw.http.request")
  local pending <close> = setmetatable({ number = 0, task = task, has_ended = true }, Pending)
  local number, problem = core.http_begin(task, order.url, order.method, order.headers, order.body,
    order.timeout, order.max_bytes, order.redirects)
  if not number then
    return nil, problem
  end
  pending.number, pending.has_ended = number, false
  local status, head, body
  repeat
    raw_yield(WAIT)
    status, head, body = core.http_result(number)
  until status or head
  pending.has_ended = true
  if not status then
    return nil, head
  end
  return { status = status, headers = header_fields.parse(head), body = body }
end

missing.watch_module("tw.http", http_client)

return http_client
