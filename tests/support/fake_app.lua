-- fake_app.lua -- an app that is served on top of the fake core: clients, requests, hooks, without
-- a socket.
--
-- The whole library under it is the real one: dispatch.lua loads the app and gets the program's
-- events for the clients. A spec starts each event; it also decides when on_close runs.

local FakeCore = require "support.fake_core"

---@class FakeApp: FakeCore
local FakeApp = setmetatable({}, FakeCore)
FakeApp.__index = FakeApp
FakeApp.__name = "FakeApp"

local APP_MODULE = "tidewire.app_of_the_spec" -- so that it goes with the other modules

---@return FakeApp
function FakeApp:install()
  local world = FakeCore.install(self)
  world.files, world.last_id, world.generation = {}, 0x1000, 1
  return world
end

function FakeApp:uninstall()
  FakeCore.uninstall(self)
  for _, name in ipairs(self.files) do
    os.remove(name)
  end
end

local function write(self, text)
  local file = os.tmpname()
  table.insert(self.files, file)
  local handle = assert(io.open(file, "wb"))
  handle:write(text)
  handle:close()
  return file
end

--- Loads a script's text as the program does at its start.
---@param text string
---@param command_line table|nil
---@return table task  of the event `load`; its results are the app, or nil and the problems as
---  lines
---@return string file
function FakeApp:load(text, command_line)
  local file = write(self, text)
  self.events = require "tidewire.dispatch"
  return self:event("load", 0, file, command_line or {}), file
end

--- Serves an app or a handler, given as its table.
---@param app table
function FakeApp:serve(app)
  package.loaded[APP_MODULE] = app
  local results = self:load(("return require %q"):format(APP_MODULE)).results or { n = 0 }
  if not results[1] then
    error(table.concat(results[2] or { "the app did not load" }, "\n"), 2)
  end
end

--- Loads another text beside the code that runs, as far as it comes without waiting.
---@param text string
---@return { app: table|nil, problems: string|nil }|nil loaded  what C got; nil: it waits
function FakeApp:reload(text)
  self.loaded = nil
  self:event("reload", 0, write(self, text), {}, self.generation + 1)
  return self.loaded
end

--- Activates what was loaded; on_reload is called for those that have it when a spec says so.
---@return table task
function FakeApp:activate()
  self.generation = self.generation + 1
  return self:event("activate", 0, self.generation)
end

--- Discards what was loaded, or is being loaded.
---@return table task
function FakeApp:discard()
  return self:event("discard", 0, self.generation + 1)
end

--- Loads another text and activates it.
---@param text string
function FakeApp:load_and_activate(text)
  local loaded = self:reload(text) or error("it waits", 2)
  if not loaded.app then
    error(loaded.problems, 2)
  end
  local task = self:activate()
  assert(task.state == "returned", task.state)
  self:turn()
end

local function head(method, path, headers)
  local lines = { ("%s %s HTTP/1.1"):format(method, path), "Host: localhost" }
  for name, value in pairs(headers or {}) do
    lines[#lines + 1] = name .. ": " .. value
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

--- A handshake, as far as scripts see it.
---@param path string
---@param request { headers: table|nil, remote_address: string|nil, secure: boolean|nil }|nil
---@return table answer  { status = 101, endpoint =, subprotocol = } or { status =, headers =, body
---  = }
---@return integer id
function FakeApp:handshake(path, request)
  request = request or {}
  self.last_id = self.last_id + 1
  local id = self.last_id
  self.conns[id] = { state = "handshake" }
  local task = self:event("handshake", 0, id, head("GET", path, request.headers), nil,
    request.remote_address or "192.0.2.1", request.secure or false)
  local results = task.results or { false, 500 }
  if results[1] then
    self.conns[id].endpoint, self.conns[id].object = results[2], results[4]
    return { status = 101, endpoint = results[2], subprotocol = results[3] }, id
  end
  return {
    status = results[2], headers = results[3] or "", body = results[4] or "",
    endpoint = results[5], subprotocol = results[6],
  }, id
end

--- A client that connects, and its on_start.
---@param path string|nil   "/" by default
---@param request table|nil as for handshake()
---@return tidewire.Conn
function FakeApp:connect(path, request)
  local answer, id = self:handshake(path or "/", request)
  assert(answer.status == 101, ("refused with %s"):format(answer.status))
  self.conns[id].state = "open"
  local conn = self.conns[id].object
  self:event("opened", id, conn)
  return conn
end

--- The integer of a connection.
---@param conn tidewire.Conn
---@return integer
function FakeApp:id(conn)
  return rawget(conn, self.core.conn_key)
end

--- An event of a connection without arguments of its own: "ping", "timeout", "drained".
---@param name string
---@param conn tidewire.Conn
---@return table task
function FakeApp:hook(name, conn)
  return self:event(name, self:id(conn), conn)
end

--- A message from the client.
---@param conn tidewire.Conn
---@param payload string
---@param is_binary boolean|nil
---@return table task
function FakeApp:receive(conn, payload, is_binary)
  local id = self:id(conn)
  local fast_path = self.fast_path[self.conns[id].endpoint]
  if fast_path then
    return self:fast_path_event(fast_path, id, conn, payload, is_binary and "binary" or "text")
  end
  return self:event("message", id, conn, payload, is_binary or false)
end

--- The connection closes, and its on_close runs.
---@param conn tidewire.Conn
---@param code integer|nil   1000 by default
---@param reason string|nil
---@return table task
function FakeApp:close(conn, code, reason)
  local id = self:id(conn)
  self.conns[id].state = "closing"
  return self:event("closed", id, conn, code or 1000, reason or "")
end

--- The end of a connection, after its on_close.
---@param conn tidewire.Conn
function FakeApp:forget(conn)
  self.conns[self:id(conn)] = nil
end

--- A plain HTTP request.
---@param method string
---@param path string
---@param body string|nil
---@param headers table|nil
---@return table|nil answer  nil: not answered yet
---@return integer number
function FakeApp:request(method, path, body, headers)
  local number = self:new_number()
  self:event("request", 0, number, head(method, path, headers), body, "192.0.2.1", false)
  return self.answers[number], number
end

--- What was sent to a connection, as payloads.
---@param conn tidewire.Conn
---@return string[]
function FakeApp:payloads(conn)
  local list = {}
  for _, message in ipairs(self.sent) do
    if message.id == self:id(conn) then
      list[#list + 1] = message.payload
    end
  end
  return list
end

--- With which code and reason the script's side closed a connection; nothing if it did not.
---@param conn tidewire.Conn
---@return integer|nil code
---@return string|nil reason
function FakeApp:close_of(conn)
  local known = self.conns[self:id(conn)]
  return known.code, known.reason
end

return FakeApp
