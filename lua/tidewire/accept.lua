-- accept.lua -- may this handshake become a connection?
--
-- C has checked the form and the server's own limits. Here the rest, in this order: the endpoint, the Origin, the
-- endpoint's places, the subprotocol, and last the script's `validate`. Must answer at once.

local Conn = require "tidewire.conn"
local core = require "tidewire.core"
local errors = require "tidewire.errors"
local inspect = require "tidewire.base.inspect"
local replies = require "tidewire.http.replies"
local Request = require "tidewire.http.request"

local accept = {}

--- The first of ours that the client offers (RFC 6455 section 4.2.2); nil, reason when it offers only others.
local function choose_subprotocol(ours, request)
  local offered = request.subprotocols
  if not ours or #ours == 0 or #offered == 0 then
    return nil
  end
  local theirs = {}
  for _, name in ipairs(offered) do
    theirs[name] = true
  end
  for _, name in ipairs(ours) do
    if theirs[name] then
      return name
    end
  end
  return nil, "This endpoint speaks only these subprotocols: " .. table.concat(ours, ", ") .. "."
end

local told <const> = {} -- endpoints, by their numbers, that this worker has asked of

--- RFC 6455 permits an answer without a subprotocol, and browsers and most libraries end the connection at it. The
--- names are not told: some clients put tokens there.
local function tell_of_subprotocols(endpoint)
  if told[endpoint.number] then
    return
  end
  told[endpoint.number] = true
  if core.endpoint_is_first(endpoint.number) then
    core.log(2, "subprotocols", nil, "why", ('a client offers subprotocols and the handler of "%s" has none, so the '
      .. 'answer names none, and browsers and most libraries end the connection then; write subprotocols = { "NAME" } '
      .. "in the handler, with the name that the client is given, or let the client offer none"):format(endpoint.path))
  end
end

--- An error of the script's while it decides: the client learns only that.
local function failed(err)
  core.count_error("script")
  errors.log(err)
  return replies.refusal(500, "The server could not decide.")
end

--- A refusal of the script's, with what it says to the client.
local function refused_by(hook, reply)
  local message = reply.status >= 4000 and reply.body or reply.message
  return replies.told(reply, hook .. " has refused it" .. (message and message ~= "" and ": " .. message or ""))
end

local function counted(...)
  return select("#", ...), ...
end

--- `validate` returned what is no answer. The message tells where the function begins: no line of it has failed.
local function wrong_answer(endpoint, message)
  return errors.new("script", inspect.place(endpoint.validate) .. message, "validate")
end

--- What was meant by a status that comes first, as it does in a route.
local function to_refuse(answer, first)
  if not replies.is_refusal(answer) then
    return ""
  end
  return ("; to refuse, return nil, %d%s"):format(answer, first ~= nil and ", message" or "")
end

--- Asks `validate`. Returns the connection's fields (or true), or nil and a reply.
local function ask(endpoint, request)
  if not endpoint.validate then
    return true
  end
  local count, ok, answer, first, second = counted(xpcall(endpoint.validate, errors.handler("validate"), request))
  if not ok then
    return nil, failed(answer)
  elseif count == 1 then
    return nil, failed(wrong_answer(endpoint, "validate returned nothing; return true or a table to accept, or nil and "
      .. "a status to refuse"))
  elseif not answer then
    local made, reply = pcall(replies.of_validate, first, second)
    if not made then
      return nil, failed(wrong_answer(endpoint, reply))
    end
    return nil, refused_by("validate", reply)
  elseif answer ~= true and type(answer) ~= "table" then
    return nil, failed(wrong_answer(endpoint, ("validate must return a table, true, or nil/false and a status; it "
      .. "returned %s%s"):format(type(answer), to_refuse(answer, first))))
  end
  local taken = answer ~= true and Conn.taken_names(answer)
  if taken then
    return nil, failed(wrong_answer(endpoint, taken))
  end
  return answer
end

--- Which endpoints there are, for the log.
local function endpoints_of(app)
  local paths = {}
  for i, endpoint in ipairs(app.endpoints) do
    paths[i] = endpoint.path
  end
  return " Endpoints: " .. replies.list(paths) .. "."
end

local function check_origin(endpoint, request)
  local ok, allowed, reason, status, message =
    xpcall(endpoint.allow_origin, errors.handler("origins"), request.origin, request)
  if not ok then
    return failed(allowed)
  elseif not allowed and replies.is_refusal(status) then
    local made, reply = pcall(replies.of_validate, status, message)
    return made and refused_by("origins", reply) or failed(errors.new("script", reply, "origins"))
  elseif not allowed then
    local origin = (" (Origin: %s)"):format(request.origin or "none")
    return replies.refuse(403, reason or "This Origin is not allowed.", nil, origin)
  end
end

--- A refusal, which may be a close after all. Browsers take no answer without a subprotocol where they have offered
--- some, and nothing is said in it: where none was chosen, the first is as good.
local function refused(endpoint, request, reply, subprotocol)
  if reply.status >= 4000 then
    reply.endpoint = endpoint.number
    reply.subprotocol = subprotocol or request.subprotocols[1]
  end
  return nil, reply
end

--- Decides about a handshake.
---@param app tidewire.App
---@param head string
---@param remote_address string
---@param secure boolean
---@return tidewire.PreparedEndpoint|nil endpoint  nil: refused
---@return tidewire.Request|tidewire.Reply request the reply, if refused
---@return string|nil subprotocol
---@return table|nil fields                        of the connection, from `validate`
function accept.decide(app, head, remote_address, secure)
  local request = Request.new(head, nil, remote_address, secure)
  local found, params = app.router:endpoint(Request.raw_path(request))
  if not found then
    return nil, replies.refuse(404, "There is no WebSocket endpoint at this path.", nil,
      core.logs_refusals() and endpoints_of(app) or "")
  end
  local endpoint = found.live
  request.params = params
  core.runs_at(endpoint.number)
  local refusal = check_origin(endpoint, request)
  if refusal then
    return refused(endpoint, request, refusal, nil)
  end
  if core.endpoint_full(endpoint.number) then
    return nil, replies.refuse(503, "This endpoint is full.", { ["Retry-After"] = "5" })
  end
  local subprotocol, unknown = choose_subprotocol(endpoint.options.subprotocols, request)
  if unknown then
    return nil, replies.refuse(400, unknown)
  end
  local answer, reply = ask(endpoint, request)
  if not answer then
    return refused(endpoint, request, reply, subprotocol)
  end
  if not subprotocol and #request.subprotocols > 0 then
    tell_of_subprotocols(endpoint)
  end
  Request.trim(request)
  return endpoint, request, subprotocol, answer ~= true and answer or nil
end

return accept
