-- endpoints.lua -- what an endpoint needs at run time: its hooks, its codec, its number in C.
--
-- Made once per endpoint when the app is loaded, so that the way of a message has no choice left to make: a codec
-- that changes nothing and a heartbeat that looks at nothing cost nothing. Limits and periods go to C.

local codecs = require "tidewire.codecs"
local core = require "tidewire.core"
local json = require "tidewire.json"

local endpoints = {}

---@class tidewire.PreparedEndpoint: tidewire.Endpoint
---@field number integer          C's number
---@field send function           conn.send
---@field receive function|nil    (conn, payload, binary): in place of a plain call of handle_message
---@field handle_message function|nil
---@field on_start function|nil
---@field send_ping function|nil
---@field on_timeout function|nil
---@field on_error function|nil
---@field on_drain function|nil
---@field on_close function|nil
---@field validate function|nil

--- Fills in the fields above and tells C.
---@param endpoint tidewire.Endpoint
function endpoints.prepare(endpoint)
  ---@cast endpoint tidewire.PreparedEndpoint
  local options, hooks = endpoint.options, endpoint.hooks
  for name, hook in pairs(hooks) do
    endpoint[name] = hook
  end
  endpoint.send, endpoint.receive = codecs.compile(options.codec, options.heartbeat == "json")
  endpoint.number = core.endpoint {
    ping_period = options.ping_period,
    pong_period = options.pong_period,
    handler_timeout = options.handler_timeout,
    max_message_size = options.max_message_size,
    max_backlog = options.max_backlog,
    max_connections = options.max_connections,
    codec = codecs.number(options.codec),
    heartbeat = options.heartbeat,
    slow_client = options.slow_client,
    has_message = hooks.handle_message ~= nil or endpoint.receive ~= nil,
    has_ping = hooks.send_ping ~= nil,
    has_timeout = hooks.on_timeout ~= nil,
    has_drain = hooks.on_drain ~= nil,
    json_name = json.encode(endpoint.name),
  }
end

return endpoints
