-- errors.lua -- turns a script's mistake into a value for on_error, a line of the log, a close
-- code.
--
-- An error ends the smallest thing that failed: the hook, and with on_error's consent (or without
-- an on_error) the connection. Errors in on_error and in on_close harm nothing else.

local conn_keys = require "tidewire.conn_keys"
local core = require "tidewire.core"
local inspect = require "tidewire.base.inspect"
local missing = require "tidewire.base.missing"

local ID <const>, ENDPOINT <const> = conn_keys.ID, conn_keys.ENDPOINT

local errors = {}

---@class tidewire.Error
---@field kind "script"|"decode"|"returned"|"timeout"|"memory"
---@field message string     with file and line where the script has given them
---@field traceback string   "" for "decode" and "returned"
---@field hook string        the hook's name: "handle_message", "timer", …
---@field value any          what was thrown or returned, as it was
local Error = {}
Error.__index = Error
Error.__name = "tidewire.Error"

function Error:__tostring()
  return ("%s: %s"):format(self.hook, self.message)
end

--- What a function in another thread has thrown, as a value that the caller can throw on.
---@class tidewire.RemoteError
---@field kind "script"|"timeout"|"memory"
---@field message string
---@field traceback string   of the thread
---@field value any          what was thrown, if it is plain data
---@field pool string        the pool's module
---@field call string        the function
local Remote = {}
Remote.__index = Remote
Remote.__name = "tidewire.RemoteError"

function Remote:__tostring()
  return self.message
end

--- An error of a pool's thread.
---@param fields tidewire.RemoteError
---@return tidewire.RemoteError
function errors.remote(fields)
  return setmetatable(fields, Remote)
end

-- Lua's error values: there is no memory, or no limit could allow so much.
local OF_MEMORY <const> = {
  ["not enough memory"] = true, ["resulting string too large"] = true,
  ["string length overflow"] = true, ["buffer too large"] = true, ["table overflow"] = true,
  ["memory allocation error: block too big"] = true,
}

--- Lua's error of memory without the place that it or error() puts before it; nil: it is another.
local function of_memory(value)
  local text = type(value) == "string" and #value < 300 and (value:match("^.-:%d+: (.*)$") or value)
  return OF_MEMORY[text] and text or nil
end

--- "app.lua:12: ", the innermost line of a script in a traceback, or "".
local function place_in(traceback)
  for place in (traceback or ""):gmatch("\n%s*([^\n]-:%d+): in ") do
    if not place:find("^lua/tidewire/") and not place:find("^%[") then
      return place .. ": "
    end
  end
  return ""
end

---@param kind string
---@param value any
---@param hook string
---@param traceback string|nil
---@return tidewire.Error
function errors.new(kind, value, hook, traceback)
  if getmetatable(value) == Error then
    return value -- thrown on by the script
  end
  if getmetatable(value) == Remote then
    return setmetatable({
      kind = value.kind, message = value.message, hook = hook, value = value,
      traceback = value.traceback .. (traceback or ""):gsub("^[^\n]*", "\ncalled by:", 1),
    }, Error)
  end
  local reason = of_memory(value)
  if reason then
    local message = core.memory_error() -- counts it
    return setmetatable({
      kind = "memory", hook = hook, value = value, traceback = traceback or "",
      message = reason == "not enough memory" and place_in(traceback) .. message or value,
    }, Error)
  end
  return setmetatable({
    kind = kind, message = missing.explain(inspect.thrown(value)), traceback = traceback or "",
    hook = hook, value = value,
  }, Error)
end

--- A message handler for xpcall that makes an Error.
---@param hook string
---@return fun(value: any): tidewire.Error
function errors.handler(hook)
  return function(value)
    return errors.new("script", value, hook, debug.traceback(nil, 2))
  end
end

local function check_caught(hook, ok, ...)
  if ok or getmetatable((...)) == Error then
    return ok, ...
  end
  return false, errors.new("script", (...), hook) -- Lua calls no message handler for this error
end

--- xpcall with a message handler that makes an Error.
---@param hook string
---@param f function
---@return boolean ok
---@return any ...  f's results, or the Error
function errors.call(hook, f, ...)
  return check_caught(hook, xpcall(f, errors.handler(hook), ...))
end

---@param err tidewire.Error
---@param id integer|nil  the connection's integer
function errors.log(err, id)
  local traceback = err.traceback ~= "" and err.traceback or nil
  if traceback then
    core.log("error", "script_error", id, "hook", err.hook, "why", err.message,
      "traceback", traceback)
  else
    core.log("error", "script_error", id, "hook", err.hook, "why", err.message)
  end
end

--- Calls on_error. Returns whether to close: true without an on_error.
local function wants_close(conn, err)
  local on_error = conn[ENDPOINT].on_error
  if not on_error then
    return true
  end
  local ok, answer = errors.call("on_error", on_error, conn, err)
  if ok then
    return answer
  end
  core.count_error("script")
  errors.log(answer, conn[ID])
  return true
end

-- These decide whether the connection is as the script wants it: after an error it is not.
local ALWAYS_CLOSES <const> = { on_start = true, on_resume = true }

--- Closes the connection if on_error says so, and always after an error in on_start or on_resume.
local function decide(conn, err)
  if not wants_close(conn, err) and not ALWAYS_CLOSES[err.hook] then
    return
  elseif err.kind == "decode" then
    core.close(conn[ID], core.close_codes.bad_payload, "message could not be decoded")
  else
    core.close(conn[ID], core.close_codes.script_error, "script error")
  end
end

--- A hook (or timer) of the connection threw.
---@param conn tidewire.Conn
---@param err tidewire.Error
function errors.thrown(conn, err)
  errors.log(err, conn[ID])
  if err.hook == "on_close" or err.hook == "timer" and not core.is_open(conn[ID]) then
    return -- it is over already
  elseif err.hook == "on_error" then
    -- on_error has exceeded its budget, so it has not decided
    core.close(conn[ID], core.close_codes.script_error, "script error")
    return
  end
  decide(conn, err)
end

--- A function of tw.rpc threw, and its client has the answer: the connection stays, unless on_error
--- says otherwise.
---@param conn tidewire.Conn
---@param err tidewire.Error
function errors.answered(conn, err)
  core.count_error("script")
  errors.log(err, conn[ID])
  if conn[ENDPOINT].on_error then
    decide(conn, err)
  end
end

--- A hook returned nil and an error.
---@param conn tidewire.Conn
---@param value any
---@param hook string
function errors.returned(conn, value, hook)
  core.count_error("returned")
  local err = errors.new("returned", value, hook)
  if not conn[ENDPOINT].on_error then
    errors.log(err, conn[ID])
  end
  decide(conn, err)
end

--- A message could not be decoded. The client sent it, so the log has it at level debug only.
---@param conn tidewire.Conn
---@param message string
function errors.undecodable(conn, message)
  core.count_error("decode")
  core.log("debug", "decode_error", conn[ID], "why", message)
  decide(conn, errors.new("decode", message, "handle_message"))
end

return errors
