-- dispatch.lua -- the one way from C into Lua: a function for each kind of event.
--
-- C runs each of these as a coroutine of its own and keeps the order of a connection's hooks. A connection is
-- an integer here; `conns` holds the object that scripts see. What goes wrong in a hook comes back as the event
-- `failed`, on a fresh coroutine, so that on_error may wait like any hook. Knows no sockets.

local app = require "tidewire.app"
local async = require "tidewire.async"
local codecs = require "tidewire.codecs"
local Conn = require "tidewire.conn"
local core = require "tidewire.core"
local endpoints = require "tidewire.endpoints"
local errors = require "tidewire.errors"
local gatekeeper = require "tidewire.gatekeeper"
local http = require "tidewire.http"
local registry = require "tidewire.registry"
local room = require "tidewire.room"

local ENDPOINT <const> = "\0endpoint" -- conn.lua's key

---@type table<integer, tidewire.Conn>  by the connection's integer
local conns = registry.conns

---@type tidewire.App|nil
local running

local events = {}

--- What a hook has returned: nil and an error goes to on_error.
local function finish(conn, hook, ok, err)
  if err ~= nil and ok == nil then
    errors.returned(conn, err, hook)
  end
end

--- Loads the app. Returns it as plain values for C, or nil and the problems as lines.
---@param file string
---@param command_line { listen: string[]|nil, workers: string|nil, admin: string|nil }
function events.load(file, command_line)
  local environ = core.environment()
  core.set_budgets(app.first_budgets(environ))
  local loaded, problems, warnings = app.load {
    file = file,
    environ = environ,
    command_line = command_line,
    check_address = core.check_address,
  }
  local lines = {}
  if core.worker == 0 then -- the others would say the same
    for _, warning in ipairs(loaded and problems or warnings or {}) do
      core.log(2, "configuration", nil, "why", app.format(warning))
    end
  end
  if not loaded then
    for i, problem in ipairs(problems) do
      lines[i] = app.format(problem)
    end
    return nil, lines
  end
  core.set_budgets(loaded.handler_timeout, loaded.limits.load_timeout)
  local shape = {}
  for i, endpoint in ipairs(loaded.endpoints) do
    endpoints.prepare(endpoint)
    shape[i] = ("%s %d\n"):format(endpoint.path, codecs.number(endpoint.options.codec))
  end
  loaded.shape = table.concat(shape)
  if loaded.on_load then
    local ok, err = xpcall(loaded.on_load, errors.handler("on_load"))
    if not ok then
      return nil, { ("%s: on_load: %s\n%s"):format(file, err.message, err.traceback) }
    end
  end
  running = loaded
  registry.endpoints = loaded.endpoints
  return loaded
end

--- The server ends: runs the app's on_stop.
function events.stop()
  if running and running.on_stop then
    running.on_stop()
  end
end

---@return boolean accepted
---@return integer endpoint_or_status
---@return string|nil subprotocol_or_headers
---@return string|nil body
function events.upgrade(id, head, _, remote_address, secure)
  local endpoint, request, subprotocol, fields = gatekeeper.admit(running, head, remote_address, secure)
  if not endpoint then
    local refusal = request
    return false, refusal.status, refusal.headers, refusal.body
  end
  conns[id] = Conn.new(id, endpoint, request, subprotocol, fields)
  return true, endpoint.number, subprotocol
end

function events.request(number, head, body, remote_address, secure)
  http.answer(running, number, head, body, remote_address, secure)
end

function events.opened(id)
  local conn = conns[id]
  local on_start = conn[ENDPOINT].on_start
  if on_start then
    finish(conn, "on_start", on_start(conn))
  end
end

function events.message(id, payload, binary)
  local conn = conns[id]
  local endpoint = conn[ENDPOINT]
  local receive = endpoint.receive
  if receive then -- a codec or a heartbeat that looks into messages
    return receive(conn, payload, binary)
  end
  local ok, err = endpoint.handle_message(conn, payload, binary and "binary" or "text")
  if err ~= nil and ok == nil then -- as finish() does: this is the hot path
    errors.returned(conn, err, "handle_message")
  end
end

function events.ping(id)
  local conn = conns[id]
  finish(conn, "send_ping", conn[ENDPOINT].send_ping(conn))
end

function events.timeout(id)
  local conn = conns[id]
  if conn[ENDPOINT].on_timeout(conn) ~= false then
    core.close(id, 4408, "timed out")
  end
end

function events.drained(id)
  local conn = conns[id]
  finish(conn, "on_drain", conn[ENDPOINT].on_drain(conn))
end

function events.closed(id, code, reason)
  local conn = conns[id]
  Conn.cancel_timers(conn)
  local on_close = conn[ENDPOINT].on_close
  if on_close then
    on_close(conn, code, reason)
  end
end

function events.forgotten(id)
  conns[id] = nil
end

events.timer = async.fire
events.moved = room.moved

--- A hook, timer or spawned function threw. Runs on a coroutine of its own.
---@param id integer         0: not a connection's hook
---@param hook string        its name
---@param kind "script"|"memory"|"timeout"
---@param value any          what was thrown
---@param traceback string
function events.failed(id, hook, kind, value, traceback)
  local err = errors.new(kind, value, hook, traceback)
  local conn = conns[id]
  if not conn then
    errors.log(err)
  else
    errors.thrown(conn, err)
  end
end

return events
