-- addresses.lua -- the addresses of a host: looked up by libuv, in a thread of its pool.
--
-- Texts that are addresses already need no look-up. Errors are LuaSocket's words.

local async = require "tidewire.async"

local addresses = {}

local WORDS <const> = {
  EAI_ADDRFAMILY = "Address family for hostname not supported",
  EAI_AGAIN = "temporary failure in name resolution",
  EAI_BADFLAGS = "invalid value for ai_flags",
  EAI_FAIL = "non-recoverable failure in name resolution",
  EAI_FAMILY = "ai_family not supported",
  EAI_MEMORY = "memory allocation failure",
  EAI_NODATA = "host or service not provided, or not known",
  EAI_NONAME = "host or service not provided, or not known",
  EAI_OVERFLOW = "argument buffer overflow",
  EAI_PROTOCOL = "resolved protocol is unknown",
  EAI_SERVICE = "service not supported for socket type",
  EAI_SOCKTYPE = "ai_socktype not supported",
  EINVAL = "host or service not provided, or not known",
  ETIMEDOUT = "timeout",
}

-- What a timer takes; longer limits are none.
local MAX_SECONDS <const> = 1e9

addresses.UNKNOWN = WORDS.EAI_NONAME

--- LuaSocket's words for an error of a look-up.
---@param name string  libuv's: "EAI_NONAME"
---@return string
function addresses.words(name)
  name = tostring(name):match("^[%u_]+") or tostring(name)
  return WORDS[name] or name
end

--- Calls begin(done), which starts a look-up with luv, and waits for its end.
---@param what string          the function, for messages
---@param seconds number|nil   nil: for ever
---@param begin fun(done: fun(problem: string|nil, result: any, other: any)): any, string|nil
---@return any result
---@return any other_or_problem
function addresses.wait_for(what, seconds, begin)
  async.this_task(what)
  local problem, result, other = async.await(function(done)
    local timer
    if seconds and seconds <= MAX_SECONDS then
      timer = async.start_once(seconds, function() done "ETIMEDOUT" end, function() end)
    end
    local request, message, name = begin(function(...)
      if timer then timer:cancel() end
      done(...)
    end)
    if not request then
      if timer then timer:cancel() end
      done(name or message)
    end
  end)
  if problem then
    return nil, addresses.words(problem)
  end
  return result, other
end

---@class tidewire.socket.Address
---@field family "inet"|"inet6"|"unix"
---@field host string   numeric, or a path
---@field port integer

--- The numeric address that the text is, if it is one.
local function literal(host, port)
  local numbers = { host:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$") }
  if numbers[1] then
    for _, number in ipairs(numbers) do
      if tonumber(number) > 255 or number:find("^0%d") then -- 010 is an octal number
        return nil
      end
    end
    return { family = "inet", host = host, port = port }
  elseif host:find("^[%x:.]*:[%x.]*:[%x:.]*%%?[%w_.-]*$") then
    return { family = "inet6", host = host, port = port }
  end
end

--- The addresses of a host and a service, the preferred ones first.
---@param what string         the function, for messages
---@param host string|nil     nil: this machine
---@param service string|nil  a port or its name
---@param family "inet"|"inet6"|nil
---@param seconds number|nil  nil: for ever
---@return tidewire.socket.Address[]|nil
---@return string|nil problem
function addresses.find(what, host, service, family, seconds)
  local port = service and service:find("^%d+$") and math.tointeger(service)
  local address = host and port and port <= 65535 and literal(host, port)
  if address and (not family or address.family == family) then
    return { address }
  end
  local list, problem = addresses.wait_for(what, seconds, function(done)
    return require "luv".getaddrinfo(host, service, { socktype = "stream", family = family }, done)
  end)
  if not list then
    return nil, problem
  end
  local found = {}
  for _, each in ipairs(list) do
    found[#found + 1] = { family = each.family, host = each.addr, port = each.port }
  end
  return found
end

--- The name of an address's host, and of its service.
---@param what string  the function, for messages
---@param address tidewire.socket.Address
---@return string|nil name
---@return string|nil service_or_problem
function addresses.name(what, address)
  return addresses.wait_for(what, nil, function(done)
    return require "luv".getnameinfo({
      ip = address.host, port = address.port, family = address.family,
    }, done)
  end)
end

return addresses
