-- http.lua -- plain HTTP/1.1 for the tests: one request, one response, one connection.
--
-- Reads a response's head and body strictly enough that a test sees what a browser would. `raw`
-- sends bytes unchanged, for requests that no client would make. Knows no WebSocket.

local loop = require "support.loop"
local stream = require "support.stream"

---@class support.response
---@field status integer
---@field reason string
---@field version string "1.1"
---@field headers table<string, string> keys in lower case; values of a repeated header joined by ",
---  "
---@field body string
---@field ended string? how the stream ended, when it did

local http = {}

-- Take a head from the stream: the status line and the headers. nil while it is not all there.
local function take_head(source)
  local text = source:peek()
  local finish = select(2, text:find("\r\n\r\n", 1, true))
  if not finish then return nil end
  local head = source:take(finish)
  local version, status, reason = head:match("^HTTP/(%d%.%d) (%d%d%d) ?([^\r\n]*)\r\n")
  if not version then error("not an HTTP answer: " .. head:sub(1, 200)) end
  local response = {
    version = version, status = tonumber(status), reason = reason, headers = {}, body = "",
  }
  for name, value in head:gmatch("\r\n([^:\r\n]+):[ \t]*([^\r\n]*)") do
    name = name:lower()
    response.headers[name] =
      response.headers[name] and response.headers[name] .. ", " .. value or value
  end
  return response
end

local function has_body(response, method)
  return method ~= "HEAD" and response.status >= 200 and response.status ~= 204
    and response.status ~= 304
end

-- Take the body of a chunked answer (RFC 9112, section 7.1). nil while it is not all there.
local function chunked_body(text)
  local parts, position = {}, 1
  while true do
    local _, line_end, size = text:find("^(%x+)[^\r\n]*\r\n", position)
    if not size then return nil end
    size = tonumber(size, 16)
    if size == 0 then return table.concat(parts) end
    if #text < line_end + size + 2 then return nil end
    parts[#parts + 1] = text:sub(line_end + 1, line_end + size)
    position = line_end + size + 3
  end
end

--- Wait for one answer on a stream.
---@param source support.stream
---@param method string? of the request: an answer to HEAD has no body
---@param seconds number?
---@return support.response? response nil, and how the stream ended ("timeout" when it did not)
---@return string? problem
function http.read_response(source, method, seconds)
  local response
  loop.wait_until(function()
    response = take_head(source)
    return response or source.ended
  end, seconds)
  if not response then return nil, source.ended or "timeout" end
  if response.status == 101 then return response end
  if not has_body(response, method) then
    loop.wait_until(function() return source.ended or source:available() > 0 end, 1)
    if source:available() > 0 then
      error("an answer that has no body is followed by " .. source:peek():sub(1, 200))
    end
    return response
  end
  local length = tonumber(response.headers["content-length"])
  local chunked = (response.headers["transfer-encoding"] or ""):lower() == "chunked"
  loop.wait_until(function()
    if length then
      response.body = source:look(length)
    elseif chunked then
      response.body = chunked_body(source:peek())
    else
      response.body = source.ended and source:peek()
    end
    return response.body or source.ended
  end, seconds)
  if not response.body then
    error("the answer's body is cut short: " .. source:peek():sub(1, 200))
  end
  if length then source:take(length) end
  response.ended = source.ended
  return response
end

--- Send bytes on a connection of their own and read the answer.
---@param address support.address
---@param bytes string
---@param method string? "HEAD" for an answer without a body
---@param seconds number?
---@return support.response? response
---@return string? problem "eof", "ECONNRESET", … when the server ended without an answer, "timeout"
---  when it did nothing
function http.raw(address, bytes, method, seconds)
  local source = assert(stream.connect(address))
  source:write(bytes)
  local response, problem = http.read_response(source, method, seconds)
  source:close()
  return response, problem
end

---@class support.request
---@field method string? "GET" when left out
---@field path string? "/" when left out
---@field headers table<string, string>?
---@field body string? sent with its Content-Length

--- Make one request and read the answer.
---@param address support.address
---@param request support.request|string a path alone is a GET
---@return support.response? response
---@return string? problem
function http.request(address, request)
  if type(request) == "string" then request = { path = request } end
  local method = request.method or "GET"
  local lines = {
    ("%s %s HTTP/1.1"):format(method, request.path or "/"), "Host: localhost", "Connection: close",
  }
  if request.body then lines[#lines + 1] = "Content-Length: " .. #request.body end
  for name, value in pairs(request.headers or {}) do lines[#lines + 1] = name .. ": " .. value end
  return http.raw(address,
    table.concat(lines, "\r\n") .. "\r\n\r\n" .. (request.body or ""), method)
end

return http
