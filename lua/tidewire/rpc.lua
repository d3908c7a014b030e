-- rpc.lua -- `tw.rpc`: a handle_message that answers requests of clients.
--
-- docs/clients.md has the form of requests and answers. Each request gets one answer, whatever
-- happens to its function; what an error says stays in the log. Keeps nothing.

local errors = require "tidewire.errors"
local misuse = require "tidewire.base.misuse"
local missing = require "tidewire.base.missing"
local option_types = require "tidewire.load.option_types"

local rpc = {}

--- A copy of the functions. Throws, without a place, for anything else.
local function check(functions, other)
  if missing.is_module(functions) then
    misuse.throw "tw.rpc: call it with a dot, tw.rpc{ … }"
  elseif type(functions) ~= "table" then
    misuse.throw("tw.rpc: a table of functions is needed, got %s", option_types.kind(functions))
  elseif other ~= nil and type(other) ~= "function" then
    misuse.throw("tw.rpc: the second argument must be a function for other messages, got %s",
      option_types.kind(other))
  end
  local known = {}
  for name, f in pairs(functions) do
    if type(name) ~= "string" then
      misuse.throw("tw.rpc: [%s]: requests have names; this one has none", tostring(name))
    elseif type(f) ~= "function" then
      misuse.throw("tw.rpc: %s must be a function, got %s", name, option_types.kind(f))
    end
    known[name] = f
  end
  return known
end

--- The answer to one request. If its function is ended from outside, it is sent all the same.
local Reply = {}
Reply.__index = Reply

local function fail(reply, message, kind)
  reply.is_sent = true
  pcall(reply.conn.send, reply.conn,
    { answer = reply.number, error = { message = message, kind = kind } })
end

function Reply.__close(reply)
  if not reply.is_sent then
    fail(reply, "the request failed", "failed")
  end
end

--- Is the value a text for an error, or for its kind?
local function is_text(value)
  return type(value) == "string" or type(value) == "number"
end

--- Sends what the function has returned. Returns the problem of a result that cannot be sent.
local function send(reply, name, result, message, kind)
  local answer = { answer = reply.number, data = result }
  if result == nil and message ~= nil then
    if not is_text(message) then
      return ("%s returned nil and %s; return nil and a text"):format(name,
        option_types.kind(message))
    end
    answer.error = { message = tostring(message), kind = is_text(kind) and tostring(kind)
      or "refused" }
  end
  local ok, problem = pcall(reply.conn.send, reply.conn, answer)
  if not ok then
    return ("%s: the result cannot be sent: %s"):format(name, problem)
  end
  reply.is_sent = true
end

local function answer(conn, number, name, f, data)
  local reply <close> = setmetatable({ conn = conn, number = number }, Reply)
  local function call()
    return f(conn, data)
  end
  local ok, result, message, kind = errors.call("handle_message", call)
  local problem
  if not ok then
    problem = result
  else
    local text = send(reply, name, result, message, kind)
    problem = text and errors.new("script", "tw.rpc: " .. text, "handle_message")
  end
  if problem then
    fail(reply, "the request failed", "failed")
    errors.answered(conn, problem)
  end
end

--- A handle_message that calls functions[type](conn, data) for each request, and answers with what
--- it returns: a value, or nil, a message and a kind. The functions may wait; requests of one
--- client are answered in their order.
---@param functions table<string, fun(conn: tidewire.Conn, data: any): any, any, any>
---@param other nil|fun(conn: tidewire.Conn, message: any, kind: string): any, any  for messages
---  that are no requests; without it they are ignored
---@return fun(conn: tidewire.Conn, message: any, kind: string): any, any
function rpc.new(functions, other)
  local known = misuse.blame_caller(check, functions, other)
  return function(conn, message, kind)
    local number = type(message) == "table" and message.ask
    local name = number and message.type
    if type(number) ~= "number" or not math.tointeger(number) or type(name) ~= "string" then
      if other then
        return other(conn, message, kind)
      end
      return
    end
    number = math.tointeger(number)
    local f = known[name]
    if f then
      answer(conn, number, name, f, message.data)
    else
      fail({ conn = conn, number = number }, "unknown request", "unknown")
    end
  end
end

return rpc
