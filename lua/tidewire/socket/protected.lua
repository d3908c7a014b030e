-- protected.lua -- errors that a function throws inward and returns outward: LuaSocket's newtry and
-- protect.

local protected = {}

--- What `try` throws: the message, or any other value, as [1].
local Failure = {
  __name = "tidewire.socket.Failure",
  __tostring = function(failure)
    return tostring(failure[1])
  end,
}

--- A function that returns its arguments; if the first one is nil or false, it calls the finalizer
--- and throws the second one, for `protect`.
---@param finalizer fun()|nil
---@return fun(...: any): any
function protected.newtry(finalizer)
  return function(...)
    if ... then
      return ...
    end
    if finalizer then
      finalizer()
    end
    error(setmetatable({ (select(2, ...)) }, Failure), 0)
  end
end

local function unwrap(ok, ...)
  if ok then
    return ...
  end
  local err = ...
  if getmetatable(err) == Failure then
    return nil, err[1]
  end
  error(err, 0)
end

--- A function that calls f, and returns nil and what a `try` in it has thrown. Other errors are
--- thrown on.
---@param f fun(...: any): any
---@return fun(...: any): any
function protected.protect(f)
  return function(...)
    return unwrap(pcall(f, ...))
  end
end

return protected
