-- ltn.lua -- sinks and sources on sockets, as LTN12 has them.

local ltn = { BLOCKSIZE = 2048, sinks = {}, sources = {} }

--- A sink or source: a function with the methods that socket.select needs.
local function callable(socket, call)
  return setmetatable({
    getfd = function() return socket:getfd() end,
    dirty = function() return socket:dirty() end,
  }, { __call = call })
end

--- The sink closes the socket behind the last piece.
ltn.sinks["close-when-done"] = function(socket)
  return callable(socket, function(_, piece)
    if piece then
      return socket:send(piece)
    end
    socket:close()
    return 1
  end)
end

ltn.sinks["keep-open"] = function(socket)
  return callable(socket, function(_, piece)
    return not piece and 1 or socket:send(piece)
  end)
end

ltn.sinks.default = ltn.sinks["keep-open"]

--- The source ends after so many bytes.
ltn.sources["by-length"] = function(socket, length)
  return callable(socket, function()
    if length <= 0 then
      return nil
    end
    local piece, problem = socket:receive(math.min(ltn.BLOCKSIZE, length))
    if not piece then
      return nil, problem
    end
    length = length - #piece
    return piece
  end)
end

--- The source ends where the peer does.
ltn.sources["until-closed"] = function(socket)
  local has_ended = false
  return callable(socket, function()
    if has_ended then
      return nil
    end
    local piece, problem, partial = socket:receive(ltn.BLOCKSIZE)
    if problem ~= "closed" then
      return piece, problem
    end
    has_ended = true
    socket:close()
    return partial
  end)
end

ltn.sources.default = ltn.sources["until-closed"]

--- A function that calls one function of the table, by its first argument; "default" by default.
---@param functions table<string, function>
---@return fun(name: any, ...: any): any
function ltn.choose(functions)
  return function(name, one, other)
    if type(name) ~= "string" then
      name, one, other = "default", name, one
    end
    local f = functions[name]
    if not f then
      error(("unknown key (%s)"):format(name), 3)
    end
    return f(one, other)
  end
end

return ltn
