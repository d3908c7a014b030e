-- routes.lua -- plain HTTP: from a request to the app's route and its response.
--
-- C serves static folders, by their names. Route functions may wait. Keeps nothing.

local client_file = require "tidewire.http.client_file"
local core = require "tidewire.core"
local errors = require "tidewire.errors"
local inspect = require "tidewire.base.inspect"
local origin_check = require "tidewire.http.origin_check"
local replies = require "tidewire.http.replies"
local Request = require "tidewire.http.request"

local http = {}

--- The names of all routes, for the log.
local function routes_of(app)
  local routes, paths = {}, {}
  for i, route in ipairs(app.http) do
    routes[i] = route.key
  end
  for i, endpoint in ipairs(app.endpoints) do
    paths[i] = endpoint.path
  end
  return (" Routes: %s. WebSocket endpoints: %s."):format(replies.list(routes), replies.list(paths))
end

local function no_route(app, request, reason, allowed)
  if reason == "method" then
    return replies.refuse(405, "This method is not allowed here.",
      { Allow = table.concat(allowed, ", ") })
  elseif app.router:endpoint(Request.raw_path(request)) then
    return replies.refuse(426,
      "This is a WebSocket endpoint: connect with ws://, or wss:// behind TLS.",
      { Upgrade = "websocket" })
  end
  return replies.refuse(404, "There is nothing at this path.", nil,
    core.logs_refusals() and routes_of(app) or "")
end

local function run(route, request)
  local ok, first, second = errors.call("http " .. route.key, route.handler, request)
  local reply, problem
  if ok then
    ok, reply, problem = pcall(replies.of_route, first, second)
    problem = not ok and reply or problem
    first = problem
      and errors.new("script", inspect.place(route.handler) .. problem, "http " .. route.key)
  end
  if ok and not problem then
    return reply
  end
  core.count_error("script")
  errors.log(first)
  return replies.refusal(500, "The server failed to answer.")
end

--- Responds to a request, at once or when the route's function has finished waiting.
---@param app tidewire.App
---@param number integer  C's number of the request
---@param head string
---@param body string|nil
---@param remote_address string
---@param secure boolean
---@param host string|nil  as a trusted proxy says
---@param tls string|nil  C's text about TLS
function http.answer(app, number, head, body, remote_address, secure, host, tls)
  local request = Request.new(head, body, remote_address, secure, host, nil, tls)
  local raw_path = Request.raw_path(request)
  local route, params, third = app.router:route(request.method, raw_path)
  local own_page = third == "" or third == "/" -- of a folder served at an endpoint's path
  if not route or route.static and not own_page and app.router:endpoint(raw_path) then
    return replies.send(number, no_route(app, request, params, third))
  end
  if route.static then
    return core.respond_file(number, route.static, third)
  end
  if route.client_file then
    return client_file.answer(number, route)
  end
  request.params = params
  replies.send(number, origin_check.route_refusal(app.allow_origin, request) or run(route, request))
end

return http
