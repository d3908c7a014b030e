-- origins.lua -- which web pages may open a connection: the `origins` option.
--
-- A browser sends the Origin of the page with every handshake (RFC 6455, 4.1). This check alone
-- keeps pages of other sites from talking to the server with the user's cookies. Origins are
-- compared as RFC 6454 says: scheme, host and port, except letters' case and the scheme's own port.
-- Without the option the page's host must be the one that the request asks for. Compiled once while
-- an app loads, called once a handshake. Pure Lua; knows nothing of options, and of a request its
-- `host` (a script's function gets the request as it is).

local origins = {}

local DEFAULT_PORTS = { http = "80", https = "443", ws = "80", wss = "443" }

local function check_port(scheme, port)
  if port == "" then
    return ""
  end
  local number = port:find("^:%d%d?%d?%d?%d?$") and tonumber(port:sub(2))
  if not number or number > 65535 then
    return nil
  end
  local text = ("%d"):format(number)
  return text == DEFAULT_PORTS[scheme] and "" or ":" .. text
end

local function is_host(host)
  if host:find("^%[[%x:.]+%]$") then
    return true
  end
  return host:find("^[%w_-]+[%w_.-]*$") ~= nil and not host:find("..", 1, true)
end

--- Scheme, host and port of an Origin in their normal form, or nil if it is not one.
---@return string|nil scheme
---@return string|nil host
---@return string|nil port  "" or ":8080"
local function split(origin)
  local scheme, host, port = origin:match("^(%a[%w+.-]*)://(%[[^%]/]*%])(:?%d*)$")
  if not scheme then
    scheme, host, port = origin:match("^(%a[%w+.-]*)://([^:/]*)(:?%d*)$")
  end
  if not scheme then
    return nil
  end
  scheme, host = scheme:lower(), host:lower()
  port = check_port(scheme, port)
  if not port then
    return nil
  end
  return scheme, host, port
end

--- The normal form of an Origin: lower case, without the scheme's own port.
---@param origin string
---@return string|nil normal  nil if it is no Origin (a path, user or query in it, no scheme, …)
function origins.normalise(origin)
  local scheme, host, port = split(origin)
  if not scheme or not is_host(host) then
    return nil
  end
  return scheme .. "://" .. host .. port
end

local EXAMPLE = 'write it as in "https://example.com" or "https://*.example.com:8443"'

--- The problem with an item of the list, for a message.
local function explain(item)
  if item == "" then
    return "an Origin is not empty"
  elseif not item:find("://", 1, true) then
    return "an Origin begins with its scheme: " .. EXAMPLE
  elseif item:find("^%a[%w+.-]*://[^/]*[/?#]") then
    return "an Origin has no path: " .. EXAMPLE
  elseif item:find("@", 1, true) then
    return "an Origin has no user name: " .. EXAMPLE
  elseif item:find("*", 1, true) then
    return 'a star stands for the first part of the host name only: ' .. EXAMPLE
  elseif item:find("[\128-\255]") then
    return 'browsers send such host names in their "xn--" form: write that'
  end
  return "this is no Origin: " .. EXAMPLE
end

--- Adds one item to the compiled list.
---@return string|nil message
local function add(list, item)
  if type(item) ~= "string" then
    return ("expected a text, got %s"):format(type(item))
  elseif item == "*" then
    list.any = true
    return nil
  elseif item == "null" then
    list.exact["null"] = true
    return nil
  end
  local normal = origins.normalise(item)
  if normal then
    list.exact[normal] = true
    return nil
  end
  local scheme, host, port = split(item)
  local parent = scheme and host:match("^%*%.(.+)$")
  if not parent or not is_host(parent) or parent:find("^%[") then
    return explain(item)
  end
  list.parents[scheme .. "://" .. parent .. port] = true
  return nil
end

local function allows(list, normal)
  if list.exact[normal] then
    return true
  end
  local scheme, rest = normal:match("^([^:]*://)[^.%[]+%.(.+)$")
  return scheme ~= nil and list.parents[scheme .. rest] == true
end

local function compile_list(items)
  local list, problems = { exact = {}, parents = {}, any = false }, {}
  for index, item in pairs(items) do
    if math.type(index) ~= "integer" then
      problems[#problems + 1] = ("expected a list of Origins, got a field %q")
        :format(tostring(index))
    else
      local message = add(list, item)
      if message then
        problems[#problems + 1] = type(item) == "string" and ('"%s": %s'):format(item, message)
          or message
      end
    end
  end
  table.sort(problems)
  return list, problems
end

---@alias tidewire.OriginCheck
---| fun(origin: string|nil, request: any): boolean, string|nil, any, any, string|nil

local function check_by_function(decide)
  return function(origin, request)
    local normal = origin == "null" and origin or origins.normalise(origin)
    if not normal then
      return false, "the Origin header is malformed"
    end
    local allowed, status, message = decide(normal, request)
    if not allowed then
      return false, "this Origin is not allowed", status, message
    end
    return true
  end
end

local function check_by_list(list)
  return function(origin)
    local normal = origin == "null" and origin or origins.normalise(origin)
    if not normal then
      return false, "the Origin header is malformed"
    elseif not allows(list, normal) then
      return false, "this Origin is not allowed"
    end
    return true
  end
end

local LONGEST_ORIGIN <const> = 300 -- a name has 253 bytes at most

--- The host of a Host header, without its port and the dot of a full name, in lower case.
local function host_name(host)
  local name = host:match("^%[[^%]]*%]") or host:match("^[^:]*")
  return (name:lower():gsub("%.$", ""))
end

--- What allows an Origin that is not the server's own.
local function what_to_write(origin)
  return ('origins = { "%s" }'):format(origin)
end

local function check_same_host(origin, request)
  if origin == "null" then
    return false, 'a page without an Origin of its own ("null") is not allowed; the option '
      .. "`origins` allows it: " .. what_to_write("null"), nil, nil, origin
  end
  local normal = #origin <= LONGEST_ORIGIN and origins.normalise(origin)
  if not normal then
    return false, "the Origin header is malformed"
  end
  local _, host = split(normal)
  if request.host and host_name(host) == host_name(request.host) then
    return true
  end
  return false, "a page of another host is not allowed; the option `origins` allows it: "
    .. what_to_write(normal), nil, nil, normal
end

local function any_origin()
  return true
end

local function around(check, require_origin)
  return function(origin, request)
    if origin == nil then
      if require_origin then
        return false, "an Origin header is required"
      end
      return true
    end
    return check(origin, request)
  end
end

--- Compiles the option into the check of a handshake.
---
--- A list (or one text) names Origins; "https://*.example.com" is any host one level below
--- example.com; "null" must be listed to be accepted; an empty list refuses every web page. A
--- function is called with the Origin in its normal form, or "null", and the request, and its
--- result decides; the caller handles its errors. nil asks for the host of the request, on any
--- port, and refuses "null"; "*" is no check at all. A value that is no Origin is refused before a
--- list or a function is asked. A request without Origin (not a browser) passes, unless
--- `require_origin`.
---@param option string|string[]|function|nil
---@param require_origin boolean|nil
---@return tidewire.OriginCheck|nil check  check(origin or nil, request) -> true | false, reason,
---  the further results of the app's function (status, message), and, where the option is not set,
---  the Origin that the option would allow
---@return string[]|nil problems           what is wrong with the option, if check is nil
function origins.compile(option, require_origin)
  if option == nil then
    return around(check_same_host, require_origin)
  elseif type(option) == "function" then
    return around(check_by_function(option), require_origin)
  elseif type(option) == "string" then
    option = { option }
  elseif type(option) ~= "table" then
    return nil, { ("expected a list of Origins or a function, got %s"):format(type(option)) }
  end
  local list, problems = compile_list(option)
  if #problems > 0 then
    return nil, problems
  end
  return around(list.any and any_origin or check_by_list(list), require_origin)
end

return origins
