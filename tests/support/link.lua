-- link.lua -- a TCP link between clients and a server, which the test cuts.
--
-- Runs on the test's own loop: bytes pass while the test waits. Owns its sockets. Knows no
-- protocol.
--
--     local link <close> = link.start(app.addresses[1])
--     … connect to 127.0.0.1:link.port …
--     link:cut("silence")      -- what is connected hears nothing any more
--     link:switch(false)       -- and new connections do not, either

local uv = require "luv"

---@class support.link
---@field port integer where it listens, at 127.0.0.1
---@field connections integer how many it has accepted
---@field target support.address where new connections go
---@field delay_ms number how long bytes are on their way
local Link = {}
Link.__index = Link
Link.__name = "support.link"

local link = {}

local function close(socket)
  if not socket:is_closing() then socket:close() end
end

local function pass(pair, from, to, problem, bytes)
  if pair.is_silent then return end
  if bytes and not to:is_closing() then
    to:write(bytes)
  else
    close(from)
    if problem or to:is_closing() then close(to) else to:shutdown(function() close(to) end) end
  end
end

-- Bytes that are delayed keep their order: timers that end at once are called in that of their
-- start, and none overtakes a longer one.
local function forward(self, pair, from, to)
  local function go(problem, bytes)
    if self.delay_ms == 0 and not pair.delayed then return pass(pair, from, to, problem, bytes) end
    local now = uv.now()
    local at = math.max(now + self.delay_ms, pair.delayed or 0)
    pair.delayed = at
    local timer = uv.new_timer()
    timer:start(at - now, 0, function()
      timer:close()
      pass(pair, from, to, problem, bytes)
    end)
  end
  local function start()
    if not from:is_closing() then from:read_start(go) end
  end
  pair.starts[from] = start
  if not self.is_held then start() end
end

local function accept(self)
  local near, far = uv.new_tcp(), uv.new_tcp()
  assert(self.server:accept(near))
  self.connections = self.connections + 1
  local pair = { near = near, far = far, is_silent = not self.is_on, starts = {} }
  self.pairs[#self.pairs + 1] = pair
  if pair.is_silent then return far:close() end
  far:connect(self.target.host, self.target.port, function(problem)
    if problem then
      close(near)
      return close(far)
    end
    pair.is_connected = true
    forward(self, pair, near, far)
    forward(self, pair, far, near)
  end)
end

--- Starts a link to a server.
---@param target support.address
---@return support.link
function link.start(target)
  local self = setmetatable({
    target = target, pairs = {}, connections = 0, is_on = true, delay_ms = 0,
  }, Link)
  self.server = uv.new_tcp()
  assert(self.server:bind("127.0.0.1", 0))
  assert(self.server:listen(128, function() accept(self) end))
  self.port = self.server:getsockname().port
  return self
end

--- Ends all connections: by a TCP reset, by FIN, or by silence: then nothing passes any more, and
--- nobody hears of it.
---@param how "reset"|"fin"|"silence"
function Link:cut(how)
  for _, pair in ipairs(self.pairs) do
    for _, socket in ipairs({ pair.near, pair.far }) do
      if how == "silence" then
        pair.is_silent = true
      elseif socket:is_closing() then
        pair.is_silent = true -- has ended
      elseif how == "reset" then
        socket:close_reset()
      else
        socket:shutdown(function() close(socket) end)
      end
    end
  end
  if how ~= "silence" then self.pairs = {} end
end

--- Switches it off, with all connections, or on for new ones.
---@param is_on boolean
function Link:switch(is_on)
  self.is_on = is_on
  if not is_on then self:cut("silence") end
end

--- Holds back all bytes, or lets them go on: none is lost, and nobody hears of it.
---@param is_held boolean
function Link:hold(is_held)
  self.is_held = is_held
  for _, pair in ipairs(self.pairs) do
    for socket, start in pairs(pair.starts) do
      if not is_held then start() elseif not socket:is_closing() then socket:read_stop() end
    end
  end
end

--- The number of connections through which bytes pass. Forgets those that have ended.
---@return integer
function Link:live()
  local left, count = {}, 0
  for _, pair in ipairs(self.pairs) do
    local has_ended = pair.near:is_closing() and pair.far:is_closing()
    if not has_ended then left[#left + 1] = pair end
    if not has_ended and pair.is_connected and not pair.is_silent then count = count + 1 end
  end
  self.pairs = left
  return count
end

--- Ends it.
function Link:stop()
  for _, pair in ipairs(self.pairs) do
    close(pair.near)
    close(pair.far)
  end
  self.pairs = {}
  close(self.server)
end

Link.__close = Link.stop

return link
