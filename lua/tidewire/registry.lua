-- registry.lua -- the worker's connections and the app's endpoints, as they are now.
--
-- dispatch.lua and reload.lua write it; rooms and broadcasts read it.

local ENDPOINT <const> = require("tidewire.conn_keys").ENDPOINT

local registry = {}

---@type table<integer, tidewire.Conn>  by the connection's integer
registry.conns = {}

---@type tidewire.PreparedEndpoint[]  and removed ones, as long as they may have connections
registry.endpoints = {}

---@type table<integer, "text"|"binary"|"json"|tidewire.Codec>  their codecs, by C's numbers
registry.codecs = {}

--- Gives the connections of an endpoint its new conn.send; a send that a script has set stays.
---@param endpoint tidewire.PreparedEndpoint
---@param old_send function
function registry.replace_send(endpoint, old_send)
  local new_send = endpoint.send
  -- `next` is quicker than pairs: nothing else runs meanwhile
  for _, conn in next, registry.conns do
    if conn[ENDPOINT] == endpoint and conn.send == old_send then
      conn.send = new_send
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

return registry
