-- service.lua -- a server of another make (Redis, PostgreSQL) for the test: started on a port of
-- its own, killed, and started again with the same data on the same port.
--
-- It has a folder below /tmp and listens on 127.0.0.1 alone. Owns its process, those that it has
-- started, and the folder. redis.lua and postgres.lua know the command lines.

local loop = require "support.loop"
local process = require "support.process"
local uv = require "luv"

---@class support.service_kind
---@field name string for messages
---@field command fun(self: support.service): string, string[] the program and its arguments
---@field answers fun(self: support.service): boolean? is it ready for clients?
---@field stop_signal string the one after which it ends, whatever its clients do

---@class support.service
---@field kind support.service_kind
---@field folder string
---@field port integer
---@field process support.process? nil while it does not run
local Service = {}
Service.__index = Service
Service.__name = "support.service"

local service = {}

-- Below the ports that the kernel gives to sockets without a wish: while the server is down no
-- other socket gets its port.
local FIRST_PORT, LAST_PORT = 20000, 31999
local ATTEMPTS = 10

local function is_free(port)
  local socket = uv.new_tcp()
  local free = socket:bind("127.0.0.1", port) and socket:listen(1, function() end)
  socket:close()
  return free
end

--- The first of so many free ports, each after the other.
---@param count integer
---@return integer
function service.choose_ports(count)
  for _ = 1, 1000 do
    local first, free = math.random(FIRST_PORT, LAST_PORT - count), true
    for port = first, first + count - 1 do free = free and is_free(port) end
    if free then return first end
  end
  error("no free port")
end

-- The processes that a process has started.
local function children_of(pid)
  local children = {}
  local scan = assert(uv.fs_scandir("/proc"))
  for name in function() return (uv.fs_scandir_next(scan)) end do
    local stat = name:find("^%d+$") and process.read_file("/proc/" .. name .. "/stat") or ""
    if stat:match("^%d+ %(.*%) %S (%d+)") == tostring(pid) then
      children[#children + 1] = tonumber(name)
    end
  end
  return children
end

-- Is there such a process, which has not ended?
local function is_running(pid)
  local stat = process.read_file("/proc/" .. pid .. "/stat")
  return stat and not stat:match("^%d+ %(.*%) ([ZX])")
end

local function said(self)
  return process.read_file(self.folder .. "/output") or ""
end

-- Starts it on its port. Returns false when it has ended instead.
local function launch(self)
  local program, args = self.kind.command(self)
  self.process = process.start(program, {
    args = args, stdout = self.folder .. "/output", stderr = self.folder .. "/output",
  })
  local ready = loop.wait_until(function()
    return self.process.exit_code or self.kind.answers(self)
  end)
  if ready and not self.process.exit_code then return true end
  self:kill()
  return false
end

--- Starts one, and waits until it answers.
---@param kind support.service_kind
---@param folder string from process.make_directory; from now on the service's
---@return support.service
function service.start(kind, folder)
  local self = setmetatable({ kind = kind, folder = folder }, Service)
  for _ = 1, ATTEMPTS do -- another process may take the port first
    self.port = service.choose_ports(1)
    if launch(self) then return self end
  end
  local output = said(self)
  self:stop()
  error(("%s did not start:\n%s"):format(kind.name, output), 2)
end

--- Starts it again, with the same data and the same port.
function Service:start()
  assert(not self.process, "it runs")
  if launch(self) then return end
  error(("%s did not start:\n%s"):format(self.kind.name, said(self)), 2)
end

--- Ends it and the processes that it has started, at once, as a crash of the machine would.
function Service:kill()
  if not self.process then return end
  local pids = children_of(self.process.pid)
  self.process:signal("sigkill")
  self.process:wait_exit()
  for _, pid in ipairs(pids) do uv.kill(pid, "sigkill") end
  assert(loop.wait_until(function()
    for _, pid in ipairs(pids) do
      if is_running(pid) then return false end
    end
    return true
  end), self.kind.name .. " cannot be killed")
  self.process = nil
end

--- Ends it as its administrator would; start() starts it again.
function Service:shut_down()
  if not self.process then return end
  self.process:signal(self.kind.stop_signal)
  local code = self.process:wait_exit()
  if not code then self:kill() end
  self.process = nil
  assert(code == 0, ("%s ended with %s:\n%s"):format(self.kind.name, code, said(self)))
end

--- Stops its processes, and lets them go on. Meanwhile clients connect and get no answer.
function Service:pause()
  self.paused = children_of(self.process.pid)
  table.insert(self.paused, self.process.pid)
  for _, pid in ipairs(self.paused) do uv.kill(pid, "sigstop") end
end

function Service:continue()
  for _, pid in ipairs(self.paused) do uv.kill(pid, "sigcont") end
end

--- Ends it for good, and removes its folder.
function Service:stop()
  self:kill()
  process.remove_directory(self.folder)
end

Service.__close = Service.stop

return service
