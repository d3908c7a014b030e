-- registry.lua -- what is there now: the worker's connections and the app's endpoints.
--
-- Written by dispatch.lua alone, read by those who address others: rooms and broadcasts.

local core = require "tidewire.core"

local registry = {}

---@type table<integer, tidewire.Conn>  by the connection's integer
registry.conns = {}

---@type tidewire.PreparedEndpoint[]
registry.endpoints = {}

--- The connection with this `conn.id`, or nil.
---@param id string
---@return tidewire.Conn|nil
function registry.find(id)
  local integer = core.id_number(id)
  return integer and registry.conns[integer]
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
