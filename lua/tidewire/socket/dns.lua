-- dns.lua -- names and addresses of hosts: `socket.dns`, which waits.

local addresses = require "tidewire.socket.addresses"

local dns = {}

local function check_text(value, name)
  if type(value) ~= "string" and type(value) ~= "number" then
    error(("bad argument #1 to '%s' (string expected, got %s)"):format(name, type(value)), 3)
  end
  return tostring(value)
end

--- All addresses of a host.
---@param host string
---@return { family: "inet"|"inet6", addr: string }[]|nil
---@return string|nil problem
function dns.getaddrinfo(host)
  host = check_text(host, "getaddrinfo")
  local list, problem = addresses.find("socket.dns.getaddrinfo", host, "0")
  if not list then
    return nil, problem
  end
  local found = {}
  for i, address in ipairs(list) do
    found[i] = { family = address.family, addr = address.host }
  end
  return found
end

--- The name, and the addresses of version 4, as gethostbyname(3) has them.
local function describe(name, list)
  local ips = {}
  for i, address in ipairs(list) do
    ips[i] = address.host
  end
  return { name = name, alias = {}, ip = ips }
end

--- The first IPv4 address of a host, and all that is known of it: name, alias, ip.
---@param host string
---@return string|nil ip
---@return table|string facts_or_problem
function dns.toip(host)
  host = check_text(host, "toip")
  local list, problem = addresses.find("socket.dns.toip", host, "0", "inet")
  if not list then
    return nil, problem
  end
  return list[1].host, describe(host, list)
end

--- The name of an address or a host, and all that is known of it: name, alias, ip.
---@param host string
---@return string|nil name
---@return table|string facts_or_problem
function dns.tohostname(host)
  host = check_text(host, "tohostname")
  local list, problem = addresses.find("socket.dns.tohostname", host, "0", "inet")
  if not list then
    return nil, problem
  end
  local name
  name, problem = addresses.name("socket.dns.tohostname", list[1])
  if not name then
    return nil, problem
  end
  return name, describe(name, list)
end

--- The names of an address, or of the addresses of a host, and the name of a service.
---@param host string|nil
---@param service string|integer|nil
---@return string[]|nil names
---@return string|nil service_or_problem
function dns.getnameinfo(host, service)
  if host == nil and service == nil then
    error("bad argument #1 to 'getnameinfo' (host and service cannot both be nil)", 2)
  end
  local list, problem = addresses.find("socket.dns.getnameinfo", host and tostring(host) or nil,
    service and tostring(service) or nil)
  if not list then
    return nil, problem
  end
  local names, service_name = {}, nil
  for i, address in ipairs(list) do
    local name
    name, service_name = addresses.name("socket.dns.getnameinfo", address)
    if not name then
      return nil, service_name
    end
    names[i] = host and name or nil
  end
  if service ~= nil then
    return names, service_name
  end
  return names
end

--- The name of this machine.
---@return string|nil
---@return string|nil problem
function dns.gethostname()
  return require "luv".os_gethostname()
end

return dns
