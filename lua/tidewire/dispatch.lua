-- dispatch.lua -- the functions that C calls, one for each kind of event.
--
-- C runs each function in a coroutine of its own and keeps the order of a connection's hooks. The
-- event `handshake` makes the object of a connection, which scripts see. C keeps it, and passes it
-- to the other events. An error in a hook comes back as the event `failed`, in a new coroutine, so
-- that on_error may wait like any hook. Knows no sockets.

local app = require "tidewire.load.app"
local async = require "tidewire.async"
local codecs = require "tidewire.codecs"
local Conn = require "tidewire.conn"
local conn_keys = require "tidewire.conn_keys"
local core = require "tidewire.core"
local errors = require "tidewire.errors"
local accept = require "tidewire.accept"
local http = require "tidewire.http.routes"
local keep = require "tidewire.reload.keep"
local memory = require "tidewire.memory"
local origin_check = require "tidewire.http.origin_check"
local presence = require "tidewire.presence"
local registry = require "tidewire.registry"
local reload = require "tidewire.reload"
local requests = require "tidewire.requests"
local session_moves = require "tidewire.session_moves"
local users = require "tidewire.users"

local ENDPOINT <const> = conn_keys.ENDPOINT

---@type tidewire.App|nil
local running
---@type tidewire.App|nil  loaded, and not activated yet
local pending

local events = {}

--- Gives on_error what a hook has returned, if that is nil and an error.
local function finish(conn, hook, ok, err)
  if err ~= nil and ok == nil then
    errors.returned(conn, err, hook)
  end
end

--- Loads the app. Returns it as plain values for C, or nil and the problems as lines.
---@param file string
---@param command_line tidewire.CommandLine
function events.load(file, command_line)
  local handler_timeout, load_timeout, bytes = app.first_budgets(core.environment())
  core.set_budgets(handler_timeout, load_timeout)
  core.limit_memory(bytes or core.default_memory(1))
  local loaded, lines = reload.load(file, command_line, 1)
  if not loaded then
    return nil, memory.explain(lines)
  end
  local problem = memory.apply(loaded)
  if problem then
    return nil, { problem }
  end
  running = reload.activate(loaded)
  if loaded.state and not command_line.is_check then
    local good, why = core.state_take(loaded.state)
    if not good then
      return nil, { "state: " .. why }
    end
    keep.take_state()
  end
  local ok, problems = reload.call_on_load(loaded)
  if ok and command_line.is_check then
    reload.check(loaded)
  end
  return ok and loaded, memory.explain(problems)
end

--- Loads an app and calls its on_load. Returns the app; or nil, the problems as lines, and the
--- script files.
local function load_beside(file, command_line, generation)
  local loaded, lines, sources = reload.load(file, command_line, generation)
  if not loaded then
    return nil, memory.explain(lines), sources
  end
  local ok, problems = reload.call_on_load(loaded)
  return ok and loaded or nil, memory.explain(problems), loaded.sources
end

--- Loads the app anew, beside the code that runs, and gives core.loaded the result.
---@param generation integer
function events.reload(file, command_line, generation)
  local ok, loaded, lines, sources = xpcall(load_beside, debug.traceback, file, command_line,
    generation)
  pending = ok and loaded or nil
  core.loaded(pending, not ok and loaded or lines and table.concat(lines, "\n") or nil, sources)
end

--- Activates the app that was loaded. Runs between two events, and cannot wait.
function events.activate()
  running, pending = reload.activate(pending, running), nil
end

--- Discards the app that was loaded, or that is being loaded.
function events.discard(generation)
  pending = nil
  reload.discard(generation)
end

--- Fills the tables of tw.keep with those of the state.
function events.take_state()
  keep.take_state()
end

--- Writes the tables of tw.keep and the sessions into the state.
function events.save_state()
  keep.save_state()
  for _, conn in ipairs(core.sessions()) do
    core.state_save_session(Conn.integer(conn), Conn.save(conn))
  end
end

--- Makes the object of a session that the state had.
---@param id integer
---@param number integer       of its endpoint
---@param values lightuserdata what Conn.save had returned
---@return tidewire.Conn|nil
function events.restore_session(id, number, values)
  for _, endpoint in ipairs(registry.endpoints) do
    if endpoint.number == number then
      return Conn.restore(id, endpoint, core.state_values(values))
    end
  end
end

--- The client of a handshake may have a session on another machine.
events.fetch_session = session_moves.fetch

--- Packs the object of a session that goes to another machine; its timers end here.
---@param conn tidewire.Conn
---@param sink lightuserdata
function events.give_session(conn, sink)
  core.session_pack(sink, Conn.save(conn))
  Conn.cancel_timers(conn)
  requests.forget(Conn.integer(conn))
end

--- Runs the app's on_stop as the server stops.
function events.stop()
  if running and running.on_stop then
    running.on_stop()
  end
end

local function refusal_of(reply)
  return reply.status, reply.headers, reply.body, reply.endpoint, reply.subprotocol, reply.why,
    reply.reason
end

---@return boolean accepted
---@return integer endpoint_or_status
---@return string|nil subprotocol_or_headers
---@return tidewire.Conn|string|nil conn_or_body
---@return string|integer|nil session_or_endpoint  the secret of the client's session; or, of a
---               status from 4000 to 4999, the endpoint: C accepts, then closes with it
---@return integer|string|nil received_or_subprotocol  how many messages the client has; the same
---@return string|nil user_or_why   its user; of a refusal: for the log
---@return string|nil reason        for the counts
function events.handshake(id, head, _, remote_address, secure, host, tls)
  local endpoint, request, subprotocol, fields, session, received =
    accept.decide(running, head, remote_address, secure, host, tls)
  if not endpoint then
    return false, refusal_of(request)
  end
  local conn = Conn.new(id, endpoint, request, subprotocol, fields)
  if endpoint.options.user == nil then
    return true, endpoint.number, subprotocol, conn, session, received
  end
  local ok, user = users.identify(conn)
  if not ok then
    return false, refusal_of(origin_check.failed(user))
  end
  return true, endpoint.number, subprotocol, conn, session, received, user
end

function events.request(number, head, body, remote_address, secure, host, tls)
  http.answer(running, number, head, body, remote_address, secure, host, tls)
end

function events.opened(conn)
  if core.has_cluster() and not users.admit(conn) then
    return
  end
  local on_start = conn[ENDPOINT].on_start
  if on_start then
    local ok, err = on_start(conn)
    Conn.check_send(conn)
    finish(conn, "on_start", ok, err)
  end
end

function events.message(conn, payload, binary)
  local endpoint = conn[ENDPOINT]
  return endpoint.receive(conn, payload, binary, endpoint)
end

--- C's event: a handle_message that C has called itself returned nil and an error.
---@param conn tidewire.Conn|nil  nil: it is gone
function events.returned(conn, err)
  if conn then
    errors.returned(conn, err, "handle_message")
  end
end

function events.ping(conn)
  finish(conn, "send_ping", conn[ENDPOINT].send_ping(conn))
end

function events.timeout(conn)
  if conn[ENDPOINT].on_timeout(conn) ~= false then
    core.time_out(Conn.integer(conn))
  end
end

function events.drained(conn)
  finish(conn, "on_drain", conn[ENDPOINT].on_drain(conn))
end

function events.reloaded(conn)
  users.update(conn)
  local on_reload = conn[ENDPOINT].on_reload
  if on_reload then
    finish(conn, "on_reload", on_reload(conn))
  end
end

--- `rate` has dropped a text of a session's client, which may be one of the JSON heartbeat.
function events.dropped(conn, payload)
  codecs.handle_heartbeat(conn, payload)
end

--- A session has lost its socket.
---@param code integer
function events.disconnected(conn, code)
  local on_disconnect = conn[ENDPOINT].on_disconnect
  if on_disconnect then
    finish(conn, "on_disconnect", on_disconnect(conn, code))
  end
end

--- The client of a session is back.
---@param returned tidewire.Conn  the connection of its handshake
function events.resumed(conn, returned)
  local before, restore = Conn.take_over(conn, returned)
  local on_resume = conn[ENDPOINT].on_resume
  if not on_resume then
    return
  end
  local answer, err = on_resume(conn, conn.request, before)
  if answer == false then
    restore()
    core.refuse_resume(Conn.integer(conn))
  else
    finish(conn, "on_resume", answer, err)
  end
end

function events.closed(conn, code, reason)
  Conn.cancel_timers(conn)
  requests.forget(Conn.integer(conn))
  local on_close = conn[ENDPOINT].on_close
  if on_close and not users.was_refused(conn) then
    on_close(conn, code, reason)
  end
end

events.timer = async.fire
events.presence_changed = presence.changed
events.answered = requests.answered
events.unanswered = requests.unanswered

--- C's event: a hook, a timer or a spawned function threw. Runs in a coroutine of its own.
---@param conn tidewire.Conn|nil  nil: not a connection's hook, or the connection is gone
---@param hook string        its name
---@param kind "script"|"memory"|"timeout"
---@param value any          what was thrown
---@param traceback string
function events.failed(conn, hook, kind, value, traceback)
  local err = errors.new(kind, value, hook, traceback)
  if not conn then
    errors.log(err)
  else
    errors.thrown(conn, err)
  end
end

return events
