-- replies.lua -- turns what scripts return for HTTP into status, header lines and body.
--
-- For refusals of `validate` and responses of plain HTTP routes. A table as body becomes JSON.

local core = require "tidewire.core"
local header_fields = require "tidewire.base.headers"
local json = require "tidewire.json"
local option_types = require "tidewire.load.option_types"

local describe = option_types.describe -- never an address, which `tostring` gives of functions

local replies = {}

---@class tidewire.Reply
---@field status integer
---@field headers string|nil  whole lines, "Name: value\r\n"
---@field body string|nil
---@field endpoint integer|nil    C's number, where the handshake is accepted only to be closed
---@field subprotocol string|nil  and what it is answered
---@field message string|nil  of a refusal
---@field why string|nil      the reason that the log has of a refusal
---@field reason string|nil   the label of its count

local function is_status(value)
  return math.type(value) == "integer" and value >= 200 and value <= 599
end

local function is_close_code(value)
  return math.type(value) == "integer" and value >= core.close_codes.first_private
    and value <= core.close_codes.last
end

--- Is this the status of a refusal? From 4000 to 4999 it is a close code: the handshake is accepted
--- and the connection closed with it at once, because a page in a browser can read nothing else of
--- a refusal.
---@param value any
---@return boolean
function replies.is_refusal(value)
  return is_close_code(value) or is_status(value) and value >= 300
end

--- Throws, without a place, for a status that cannot be that of a refusal, such as one of success.
local function check_refusal(value)
  if not replies.is_refusal(value) then
    error(("validate must refuse with a status from 300 to 599, or close with a code from 4000 to "
      .. "4999; it returned %s"):format(tostring(value)), 0)
  end
  return value
end

local textual = { string = true, number = true, boolean = true }

--- The text of a body or of a message that is no table. Throws, without a place, for a value
--- without a text.
local function text_of(what, value)
  if not textual[type(value)] then
    error(("%s must be a string, a number, a boolean or a table, got %s")
      :format(what, describe(value)), 0)
  end
  return tostring(value)
end

--- Builds a reply; a body that is a table becomes JSON. Throws, without a place, for a body that
--- cannot be sent.
---@param status integer
---@param headers table<string, string|string[]>|nil
---@param body any
---@return tidewire.Reply
function replies.new(status, headers, body)
  if type(body) == "table" or body == json.null then
    headers = header_fields.with(headers, "Content-Type", "application/json")
    body = json.encode(body)
  end
  if status == 401 then
    -- RFC 9110 section 15.5.2 wants one
    headers = header_fields.with(headers, "WWW-Authenticate", "Bearer")
  end
  if body ~= nil then
    body = text_of("a body", body)
  end
  return { status = status, headers = header_fields.lines(headers or {}), body = body }
end

--- A refusal with an explanation, in the body that all refusals have, C's included:
--- JSON `{"error":message,"status":status}`, its keys always in this order.
---@param status integer
---@param message string
---@param headers table<string, string>|nil
---@return tidewire.Reply
function replies.refusal(status, message, headers)
  local body = ('{"error":%s,"status":%d}'):format(json.encode(message), status)
  local reply =
    replies.new(status, header_fields.with(headers, "Content-Type", "application/json"), body)
  reply.message = message
  return reply
end

local LONGEST_REASON <const> = core.limits.close_reason_bytes

--- The reason of a Close frame: the message, cut to whole characters that fit.
local function close_reason(details)
  if type(details) == "table" then
    details = details.message ~= nil and details.message or details.body
  end
  if details == nil then
    return ""
  elseif not textual[type(details)] then
    error(("a status from 4000 to 4999 closes the connection, with a short text as its "
      .. "reason, got %s"):format(describe(details)), 0)
  end
  local text = tostring(details)
  if not utf8.len(text) then
    error("the reason of a close must be UTF-8 text", 0)
  end
  local cut = math.min(#text, LONGEST_REASON)
  while cut < #text and text:byte(cut + 1) & 0xC0 == 0x80 do
    cut = cut - 1
  end
  return text:sub(1, cut)
end

--- The reply for what `validate` returned behind nil or false: a status, then a message or a table
--- with `status`, `headers` and `body`; any of them may be missing. With a status from 4000 to 4999
--- the body is the reason of the close.
---@param first any
---@param second any
---@return tidewire.Reply
function replies.of_validate(first, second)
  local status, details = 403, second
  if type(first) == "number" then
    status = check_refusal(first)
  elseif first ~= nil then
    details = first
  end
  if type(details) == "table" and details.status ~= nil then
    status = check_refusal(details.status)
  end
  if is_close_code(status) then
    return { status = status, body = close_reason(details) }
  elseif type(details) ~= "table" then
    return replies.refusal(status,
      details == nil and "Refused." or text_of("the message of a refusal", details))
  end
  if details.body == nil then
    return replies.refusal(status,
      text_of("the message of a refusal", details.message or "Refused."), details.headers)
  end
  return replies.new(status, details.headers, details.body)
end

--- The problem with two values of which the first is no status; nil: none. A second number may be
--- the second result of string.gsub.
local function wrong_pair(first, second)
  if first == nil or second == nil then
    return nil
  elseif type(first) == "string" and type(second) == "number" and not is_status(second) then
    return nil
  elseif is_status(second) then
    return ("a status comes first: return %d, body; the route returned %s, %d")
      :format(second, describe(first), second)
  end
  return ("a route that returns two values returns a status and a body; it returned %s, %s")
    :format(describe(first), describe(second))
end

--- The reply for what a route returned: a status, a body (200), a status and a body, or a table
--- with `status`, `headers` and `body`. Anything else, nothing as well, is an error of the script.
---@param first any
---@param second any
---@return tidewire.Reply|nil
---@return string|nil message
function replies.of_route(first, second)
  if is_status(first) then
    if type(second) == "table" and (second.body ~= nil or second.headers) then
      return replies.new(first, second.headers, second.body)
    end
    return replies.new(first, nil, second)
  end
  local problem = wrong_pair(first, second)
  if problem then
    return nil, problem
  elseif type(first) == "string" then
    return replies.new(200, nil, first)
  elseif type(first) == "table"
    and (first.status ~= nil or first.body ~= nil or first.headers ~= nil) then
    local status = first.status or 200
    if not is_status(status) then
      return nil, ("status must be an integer from 200 to 599, got %s"):format(describe(status))
    end
    return replies.new(status, first.headers, first.body)
  elseif type(first) == "table" then
    return replies.new(200, nil, first)
  end
  return nil,
    ("a route must return a status, a body, or { status =, headers =, body = }; it returned %s")
      :format(second == nil and describe(first) or describe(first) .. ", " .. describe(second))
end

--- Gives a refusal the reason that the log shows.
---@param reply tidewire.Reply
---@param why string
---@return tidewire.Reply
function replies.with_reason(reply, why)
  reply.why = why
  return reply
end

--- Gives a refusal the label of its count; by default it is the name of its status.
---@param reason string
---@param reply tidewire.Reply
---@return tidewire.Reply
function replies.counted_as(reason, reply)
  reply.reason = reason
  return reply
end

--- A refusal by the server, with the reason that the log shows.
---@param status integer
---@param message string       for the client and the log
---@param headers table<string, string>|nil
---@param more string|nil      for the log alone
---@return tidewire.Reply
function replies.refuse(status, message, headers, more)
  return replies.with_reason(replies.refusal(status, message, headers), message .. (more or ""))
end

local MOST_NAMES <const> = 12

--- A sentence's list of names, for the log: "/chat, /game and 3 more"; "none" where there are none.
---@param names string[]
---@return string
function replies.list(names)
  if #names == 0 then
    return "none"
  elseif #names <= MOST_NAMES then
    return table.concat(names, ", ")
  end
  return ("%s and %d more"):format(table.concat(names, ", ", 1, MOST_NAMES), #names - MOST_NAMES)
end

--- Sends a reply to a plain request.
---@param number integer  C's number of the request
---@param reply tidewire.Reply
function replies.send(number, reply)
  core.respond(number, reply.status, reply.headers, reply.body, reply.why)
end

return replies
