-- registry.lua -- the app's endpoints and their connections, as they are now.
--
-- reload.lua writes it; rooms and broadcasts read it.

local core = require "tidewire.core"
local suggest = require "tidewire.base.suggest"

local registry = {}

---@type tidewire.PreparedEndpoint[]  and removed ones, as long as they may have connections
registry.endpoints = {}

---@type table<integer, "text"|"binary"|"json"|tidewire.Codec>  their codecs, by C's numbers
registry.codecs = {}

--- Gives the connections of an endpoint its new conn.send; a send that a script has set stays.
---@param endpoint tidewire.PreparedEndpoint
---@param old_send function
function registry.replace_send(endpoint, old_send)
  for _, conn in ipairs(core.endpoint_conns(endpoint.number)) do
    if conn.send == old_send then
      conn.send = endpoint.send
    end
  end
end

--- The endpoint of this path.
---@param path string  as in the app's `endpoints`
---@return tidewire.PreparedEndpoint|nil
function registry.endpoint(path)
  for _, endpoint in ipairs(registry.endpoints) do
    if endpoint.path == path then
      return endpoint
    end
  end
end

--- The end of a message about a path that no endpoint has: the one that was meant, or nothing.
---@param path any
---@return string
function registry.hint(path)
  local paths = {}
  for i, endpoint in ipairs(registry.endpoints) do
    paths[i] = endpoint.path
  end
  return suggest.hint(path, paths)
end

return registry
