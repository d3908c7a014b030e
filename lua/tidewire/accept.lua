-- accept.lua -- decides whether a handshake becomes a connection.
--
-- C has checked the form and the server's own limits. This module checks the rest, in this order:
-- the endpoint, the Origin, the endpoint's limit of connections, the subprotocol, and last the
-- script's `validate`. Nothing here may wait.

local Conn = require "tidewire.conn"
local core = require "tidewire.core"
local errors = require "tidewire.errors"
local inspect = require "tidewire.base.inspect"
local origin_check = require "tidewire.http.origin_check"
local replies = require "tidewire.http.replies"
local Request = require "tidewire.http.request"

local accept = {}

local WRONG_SECRET <const> = "The parameter session must have %d to %d characters of A-Z, a-z, "
  .. "0-9, -, ., _ and ~."

--- The endpoint's first subprotocol that the client offers (RFC 6455 section 4.2.2); nil and a
--- reason where the client offers only others.
local function choose_subprotocol(ours, offered)
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

-- endpoints, by their numbers, for which this worker has asked whether it is the first to warn
local asked <const> = {}

--- Warns, once for each endpoint, of a client that offers subprotocols where the handler has none.
--- RFC 6455 permits a response without a subprotocol, and browsers and most libraries close the
--- connection then. The warning does not name the offered ones: some clients put tokens there.
local function warn_of_subprotocols(endpoint)
  if asked[endpoint.number] then
    return
  end
  asked[endpoint.number] = true
  if core.is_first("subprotocols", endpoint.number) then
    core.log("warn", "subprotocols", nil, "why",
      ('a client offers subprotocols and the handler of "%s" has none, so the '
        .. 'answer names none, and browsers and most libraries end the connection then; write '
        .. 'subprotocols = { "NAME" } '
        .. "in the handler, with the name that the client is given, or let the client offer none")
        :format(endpoint.path))
  end
end

local function counted(...)
  return select("#", ...), ...
end

--- The error of a `validate` that returned something else than it may. The message names the line
--- where the function begins, because no line in it has failed.
local function wrong_answer(endpoint, message)
  return errors.new("script", inspect.place(endpoint.validate) .. message, "validate")
end

--- The hint for a status that `validate` returned first, as routes do.
local function to_refuse(answer, first)
  if not replies.is_refusal(answer) then
    return ""
  end
  return ("; to refuse, return nil, %d%s"):format(answer, first ~= nil and ", message" or "")
end

--- Calls `validate`. Returns the connection's fields or true; or nil and a reply.
local function ask(endpoint, request)
  if not endpoint.validate then
    return true
  end
  local count, ok, answer, first, second =
    counted(errors.call("validate", endpoint.validate, request))
  if not ok then
    return nil, origin_check.failed(answer)
  elseif count == 1 then
    return nil, origin_check.failed(wrong_answer(endpoint,
      "validate returned nothing; return true or a table to accept, or nil and "
        .. "a status to refuse"))
  elseif not answer then
    local made, reply = pcall(replies.of_validate, first, second)
    if not made then
      return nil, origin_check.failed(wrong_answer(endpoint, reply))
    end
    return nil, origin_check.refused_by("validate", reply)
  elseif answer ~= true and type(answer) ~= "table" then
    return nil, origin_check.failed(wrong_answer(endpoint,
      ("validate must return a table, true, or nil/false and a status; it "
        .. "returned %s%s"):format(type(answer), to_refuse(answer, first))))
  end
  local taken = answer ~= true and Conn.taken_names(answer)
  if taken then
    return nil, origin_check.failed(wrong_answer(endpoint, taken))
  end
  return answer
end

--- The names of all endpoints, for the log.
local function endpoints_of(app)
  local paths = {}
  for i, endpoint in ipairs(app.endpoints) do
    paths[i] = endpoint.path
  end
  return " Endpoints: " .. replies.list(paths) .. "."
end

--- A refusal, by a status or by a close code (4000 to 4999: accepted, then closed). A browser that
--- has offered subprotocols takes no response without one: where none was chosen, the response
--- names the first that was offered.
local function refused(endpoint, request, reply, subprotocol)
  if reply.status >= core.close_codes.first_private then
    reply.endpoint = endpoint.number
    reply.subprotocol = subprotocol or request.subprotocols[1]
  end
  return nil, reply
end

--- What the client says of its session: the secret, and how many messages of it the client has (-1:
--- what it says is no number). nil: it asks for none; false: the secret is malformed.
local function session_of(endpoint, request)
  local query = endpoint.options.resume and request.query
  local secret = query and query.session
  if not secret then
    return nil
  elseif #secret < core.limits.session_secret_min or #secret > core.limits.session_secret_max
    or not secret:find("^[%w._~-]+$") then
    return false
  end
  local received = query.received or "0"
  return secret, received:find("^%d+$") and math.tointeger(tonumber(received)) or -1
end

--- Decides about a handshake.
---@param app tidewire.App
---@param head string
---@param remote_address string
---@param secure boolean
---@param host string|nil  as a trusted proxy says
---@param tls string|nil  C's text about TLS
---@return tidewire.PreparedEndpoint|nil endpoint  nil: refused
---@return tidewire.Request|tidewire.Reply request  the reply, if refused
---@return string|nil subprotocol
---@return table|nil fields                        of the connection, from `validate`
---@return string|nil session                      the secret of the client's session
---@return integer|nil received                    how many messages the client has of it
function accept.decide(app, head, remote_address, secure, host, tls)
  local request = Request.new(head, nil, remote_address, secure, host, nil, tls)
  local found, params = app.router:endpoint(Request.raw_path(request))
  if not found then
    return nil, replies.refuse(404, "There is no WebSocket endpoint at this path.", nil,
      core.logs_refusals() and endpoints_of(app) or "")
  end
  local endpoint = found.live
  if next(params) then -- the request makes empty ones itself, when a script asks
    request.params = params
  end
  core.runs_at(endpoint.number)
  local refusal = origin_check.refusal(endpoint.allow_origin, request, endpoint)
  if refusal then
    return refused(endpoint, request, refusal, nil)
  end
  local session, received = session_of(endpoint, request)
  if session == false then
    return nil, replies.counted_as("session", replies.refuse(400,
      WRONG_SECRET:format(core.limits.session_secret_min, core.limits.session_secret_max)))
  end
  local is_full = core.endpoint_full(endpoint.number)
  if is_full and not (session and core.session_exists(endpoint.number, session)) then
    return nil, replies.counted_as("max_connections",
      replies.refuse(503, "This endpoint is full.", { ["Retry-After"] = "5" }))
  end
  local offered = request.headers["sec-websocket-protocol"] and request.subprotocols or {}
  local subprotocol, unknown = choose_subprotocol(endpoint.options.subprotocols, offered)
  if unknown then
    return nil, replies.counted_as("subprotocols", replies.refuse(400, unknown))
  end
  local answer, reply = ask(endpoint, request)
  if not answer then
    return refused(endpoint, request, reply, subprotocol)
  end
  if not subprotocol and #offered > 0 then
    warn_of_subprotocols(endpoint)
  end
  Request.trim(request)
  return endpoint, request, subprotocol, answer ~= true and answer or nil, session, received
end

return accept
