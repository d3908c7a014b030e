-- connect_loop.lua -- a client that connects again and again: it sends a handshake, disconnects
-- after the 101, and connects again. Counts accepted handshakes and notes each other result. Runs
-- while the test waits for something else.

local client = require "support.client"
local loop = require "support.loop"
local uv = require "luv"

---@class support.connect_loop
---@field count integer accepted handshakes
---@field problems string[] other results
local ConnectLoop = {}
ConnectLoop.__index = ConnectLoop
ConnectLoop.__name = "support.connect_loop"

local connect_loop = {}

-- Closes with a reset, so that ten thousand connections leave no port in TIME_WAIT.
local function disconnect(handle)
  if handle:is_closing() then return end
  if uv.handle_get_type(handle) == "tcp" and uv.tcp_close_reset(handle) then return end
  handle:close()
end

function ConnectLoop:connect()
  local handle = self.address.path and uv.new_pipe(false) or uv.new_tcp()
  local text = ""
  self.handle = handle
  local function done(problem)
    if handle ~= self.handle then return end
    if problem then
      self.problems[#self.problems + 1] = problem
    else
      self.count = self.count + 1
    end
    disconnect(handle)
    self.handle = nil
    -- after a problem it stops: one is enough to fail the test
    if not self.stopped and not problem then self:connect() end
  end
  local function on_read(err, chunk)
    if err or not chunk then return done(("%s after %q"):format(err or "eof", text)) end
    text = text .. chunk
    if not text:find("\r\n\r\n", 1, true) then return end
    done(not text:find("^HTTP/1.1 101 ") and text or nil)
  end
  local function on_connect(err)
    if err then return done(err) end
    if handle:is_closing() then return end
    handle:read_start(on_read)
    handle:write((client.handshake("/")))
  end
  if self.address.path then
    handle:connect(self.address.path, on_connect)
  else
    handle:connect(self.address.host, self.address.port, on_connect)
  end
end

---@param address support.address
---@return support.connect_loop
function connect_loop.start(address)
  local self = setmetatable({ address = address, count = 0, problems = {} }, ConnectLoop)
  self:connect()
  return self
end

--- Waits until the servers have accepted `count` handshakes of all clients; ends early at a
--- problem.
---@param list support.connect_loop[]
---@param count integer
---@return integer count
function connect_loop.wait(list, count)
  local total
  local reached = loop.wait_until(function()
    total = 0
    for _, each in ipairs(list) do
      total = total + each.count
      if #each.problems > 0 then return true end
    end
    return total >= count
  end)
  assert(reached, "no handshake is accepted any more")
  return total
end

--- Stops all clients.
---@param list support.connect_loop[]
---@return string[] problems of all
function connect_loop.stop(list)
  local problems = {}
  for _, each in ipairs(list) do
    each.stopped = true
    local handle = each.handle
    each.handle = nil
    if handle then disconnect(handle) end
    table.move(each.problems, 1, #each.problems, #problems + 1, problems)
  end
  uv.run("nowait")
  return problems
end

return connect_loop
