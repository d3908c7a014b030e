-- guards.lua -- what workers (guarded.lua, async.lua) and threads of pools (pool_thread.lua) put in
-- the place of Lua's functions, as far as it is the same in both. Keeps nothing.

local core = require "tidewire.core"

local guards = {}

local is_over, raw_close, raw_status = core.is_over, core.guarded.close, coroutine.status

--- A message handler that does nothing when time is over: it could not be ended. The tail call
--- leaves the stack as the handler expects it.
---@param handler function
---@return function
function guards.handler(handler)
  return function(...)
    if is_over() then
      return ...
    end
    return handler(...)
  end
end

local function check_wrapped(co, ok, ...)
  if ok then
    return ...
  end
  local message = ...
  if raw_status(co) == "dead" then
    local closed, other = raw_close(co)
    message = closed and message or other
  end
  error(message, 2) -- the tail call before made the caller of the wrapped function the second level
end

--- A function in place of coroutine.wrap.
---@param resume fun(co: thread, ...: any): boolean, any  in place of coroutine.resume
---@return fun(f: function): function
function guards.make_wrap(resume)
  return function(f)
    if type(f) ~= "function" then
      error(("bad argument #1 to 'wrap' (function expected, got %s)"):format(type(f)), 2)
    end
    local co = coroutine.create(f)
    return function(...)
      return check_wrapped(co, resume(co, ...))
    end
  end
end

--- Puts functions into a table of globals, and into the tables in it.
---@param globals table
---@param functions table<string, function|table<string, function>>
function guards.put(globals, functions)
  for name, value in pairs(functions) do
    if type(value) == "table" then
      for inner, f in pairs(value) do
        globals[name][inner] = f
      end
    else
      globals[name] = value
    end
  end
end

return guards
