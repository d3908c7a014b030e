-- sockets.lua -- over a reload: the sockets that scripts open with luv while they are loaded.
--
-- New code is loaded beside the running code and binds the same addresses, which are in use. So
-- where new code binds an address that a handle of the running code is bound to, it gets that very
-- socket (its descriptor, duplicated). Calls that make the socket accept or receive wait until the
-- new code is activated; the old handle is closed then. No connection that waits in the kernel is
-- lost, and nothing changes where the new code is discarded. Sockets that new code does not open
-- again stay as they are.

local core = require "tidewire.core"

local sockets = {}

---@class tidewire.LuvSocket
---@field handle userdata
---@field key string          its address: "tcp 127.0.0.1 8000"
---@field old tidewire.LuvSocket|nil  shares this socket's descriptor until it is closed
---@field start fun(): any    makes it accept or receive; called when the new code is activated

-- luv keeps each handle until it is closed, and so keeps its entry here.
---@type table<userdata, tidewire.LuvSocket>
local by_handle = setmetatable({}, { __mode = "k" })
---@type table<string, tidewire.LuvSocket>  of the running code, by their addresses
local bound = setmetatable({}, { __mode = "v" })
--- Of code that is not activated yet: each shares the descriptor of another socket.
---@type tidewire.LuvSocket[]
local pending = {}
local running = 1 -- the generation
local raw = {} -- luv's own functions

--- Does the running function belong to code that is not activated yet?
local function is_loading()
  local scope = core.scope()
  return scope ~= nil and scope > running
end

local function is_open(socket)
  return socket ~= nil and not raw.is_closing(socket.handle)
end

--- Opens the handle with the other's socket; or returns nil and luv's message.
local function share(kind, handle, key, old)
  local fd = raw.fileno(old.handle)
  local copy, message = core.duplicate(fd)
  if not copy then
    return nil, message
  end
  local result, open_message, name = raw[kind .. "_open"](handle, copy)
  if not result then
    core.close_descriptor(copy)
    return nil, open_message, name
  end
  local socket = { handle = handle, key = key, old = old }
  by_handle[handle] = socket
  pending[#pending + 1] = socket
  return result
end

local function bind(kind, handle, key, ...)
  local old = bound[key]
  if is_loading() and is_open(old) and raw.is_active(old.handle) then
    return share(kind, handle, key, old)
  end
  local result, message, name = raw[kind .. "_bind"](handle, ...)
  if result then
    by_handle[handle] = { handle = handle, key = key }
    -- two handles may be bound to one address until `listen` fails for one
    if not is_open(bound[key]) then
      bound[key] = by_handle[handle]
    end
  end
  return result, message, name
end

--- Closes a socket. Of a pipe it keeps the path, which luv would remove.
local function close(socket)
  local path = socket.key:match("^pipe (.*)$")
  local aside = path and ("%s.%d.%d"):format(path, core.worker, running)
  local moved = path and os.rename(path, aside)
  raw.close(socket.handle)
  if moved then
    os.rename(aside, path)
  end
end

--- Makes the new code's socket accept or receive, and closes the old handle.
local function begin(socket)
  local result, message, name = socket.start()
  local old = socket.old
  socket.old, socket.start = nil, nil
  if not result then
    core.log("error", "script_error", nil, "hook", "reload", "why",
      ("luv: %s: %s"):format(socket.key, message))
    return result, message, name
  end
  bound[socket.key] = socket
  if is_open(old) then
    close(old)
  end
  return result
end

--- Calls luv's function: at once, or when the code is activated whose socket shares another's
--- descriptor.
local function start(f, handle, ...)
  local socket = by_handle[handle]
  if not socket or not socket.old then
    local result, message, name = f(handle, ...)
    if result and socket then
      bound[socket.key] = socket
    end
    return result, message, name
  end
  local arguments = table.pack(...)
  function socket.start()
    return f(handle, table.unpack(arguments, 1, arguments.n))
  end
  if is_loading() then
    return 0
  end
  return begin(socket)
end

--- Starts the sockets of the code that is activated.
---@param generation integer
function sockets.activate(generation)
  running = generation
  local list = pending
  pending = {}
  for _, socket in ipairs(list) do
    if is_open(socket) and socket.start then
      begin(socket)
    end
  end
end

--- Closes the sockets of the code that is discarded.
function sockets.discard()
  local list = pending
  pending = {}
  for _, socket in ipairs(list) do
    if is_open(socket) then
      socket.key = "" -- a pipe's path is not its own
      raw.close(socket.handle)
    end
  end
end

--- The methods of luv's handles of a class.
local function methods_of(class)
  local metatable = debug.getregistry()[class]
  return type(metatable) == "table" and metatable.__index or {}
end

--- Replaces functions of luv, in its table and among the methods of its handles.
---@param uv table
function sockets.install(uv)
  for _, name in ipairs {
    "tcp_bind", "tcp_open", "pipe_bind", "pipe_open", "udp_bind", "udp_open", "listen",
    "udp_recv_start", "fileno", "close", "is_closing", "is_active",
  } do
    raw[name] = uv[name]
  end
  for _, kind in ipairs { "tcp", "udp" } do
    local name = kind .. "_bind"
    uv[name] = function(handle, host, port, ...)
      local is_fixed = type(host) == "string" and math.tointeger(port) ~= 0
      if not is_fixed then
        return raw[name](handle, host, port, ...)
      end
      return bind(kind, handle, ("%s %s %s"):format(kind, host, port), host, port, ...)
    end
  end
  function uv.pipe_bind(handle, path, ...)
    if type(path) ~= "string" then
      return raw.pipe_bind(handle, path, ...)
    end
    return bind("pipe", handle, "pipe " .. path, path, ...)
  end
  function uv.listen(handle, ...)
    return start(raw.listen, handle, ...)
  end
  function uv.udp_recv_start(handle, ...)
    return start(raw.udp_recv_start, handle, ...)
  end
  local tcp, pipe, udp = methods_of("uv_tcp"), methods_of("uv_pipe"), methods_of("uv_udp")
  tcp.bind, tcp.listen, pipe.bind, pipe.listen = uv.tcp_bind, uv.listen, uv.pipe_bind, uv.listen
  udp.bind, udp.recv_start = uv.udp_bind, uv.udp_recv_start
end

return sockets
