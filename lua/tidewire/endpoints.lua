-- endpoints.lua -- prepares endpoints for the run time: hooks, codec, number in C.
--
-- Prepared for each endpoint when an app is activated, so that nothing is left to decide for each
-- message: a codec that changes nothing and a heartbeat of PING frames cost nothing. Limits and
-- periods go to C.

local codecs = require "tidewire.codecs"
local compressions = require "tidewire.load.compression"
local core = require "tidewire.core"
local json = require "tidewire.json"
local requests = require "tidewire.requests"

local endpoints = {}

local NO_SESSIONS <const> = { seconds = 0, messages = 0, bytes = 0, sessions = 0 }

--- Paths whose handler has, or had, the option `user`: new code may decide otherwise about their
--- connections.
---@type table<string, true>
local had_user = {}

---@class tidewire.PreparedEndpoint: tidewire.Endpoint
---@field number integer          C's number
---@field codec integer           C's number of its codec
---@field send function           conn.send
---@field encode function|nil     of a codec of the script's own
---@field receive function|nil    (conn, payload, binary, endpoint): calls handle_message
---@field receive_asked function|nil  the same for connections that are asked (requests.lua)
---@field handle_message function|nil
---@field on_start function|nil
---@field send_ping function|nil
---@field on_timeout function|nil
---@field on_error function|nil
---@field on_drain function|nil
---@field on_reload function|nil
---@field on_disconnect function|nil
---@field on_resume function|nil
---@field on_close function|nil
---@field validate function|nil

--- Fills in the fields above and gives C the endpoint's settings.
---@param endpoint tidewire.Endpoint
---@param number integer|nil  C's, of an endpoint that it knows
function endpoints.prepare(endpoint, number)
  ---@cast endpoint tidewire.PreparedEndpoint
  local options, hooks = endpoint.options, endpoint.hooks
  local compression = options.compression or compressions.defaults
  local resume = options.resume or NO_SESSIONS
  had_user[endpoint.path] = options.user ~= nil or had_user[endpoint.path]
  for name, hook in pairs(hooks) do
    endpoint[name] = hook
  end
  local is_json = options.heartbeat == "json"
  local reads_heartbeat = is_json or options.resume and true or false
  endpoint.send, endpoint.receive, endpoint.encode = codecs.compile(options.codec,
    reads_heartbeat)
  if options.codec == "json" then
    endpoint.receive_asked = codecs.receive_answers(reads_heartbeat, requests.take)
    requests.prepare(endpoint)
  end
  endpoint.number, endpoint.codec = core.endpoint({
    ping_period = options.ping_period,
    pong_period = options.pong_period,
    handler_timeout = options.handler_timeout,
    max_message_size = options.max_message_size,
    max_fragments = options.max_fragments,
    message_timeout = options.message_timeout,
    max_backlog = options.max_backlog,
    max_connections = options.max_connections,
    codec = codecs.name(options.codec, endpoint.path),
    heartbeat = options.heartbeat,
    slow_client = options.slow_client,
    rate = options.rate,
    control_rate = options.control_rate,
    compresses = options.compression and true or false,
    keeps_context = compression.context,
    compress_level = compression.level,
    compress_min = compression.threshold,
    has_message = hooks.handle_message ~= nil or endpoint.receive ~= nil,
    has_ping = hooks.send_ping ~= nil,
    has_timeout = hooks.on_timeout ~= nil,
    has_drain = hooks.on_drain ~= nil,
    resume_seconds = resume.seconds,
    resume_messages = resume.messages,
    resume_bytes = resume.bytes,
    resume_sessions = resume.sessions,
    has_reload = hooks.on_reload ~= nil or had_user[endpoint.path] ~= nil,
    user_connections = options.user_connections,
    user_replaces = options.user_limit == "replace",
    path = endpoint.path,
    json_name = json.encode(endpoint.name),
  }, number)
  local is_fast = not is_json and codecs.is_plain(options.codec)
  core.fast_path(endpoint.number, is_fast and hooks.handle_message or nil)
end

return endpoints
