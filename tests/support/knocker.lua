-- knocker.lua -- a client that connects all the time: it asks for a WebSocket, and as soon as it is
-- let in it goes and comes again. Notes every time it was not let in. Works while a test waits for
-- something else.

local client = require "support.client"
local loop = require "support.loop"
local uv = require "luv"

---@class support.knocker
---@field count integer how often it was let in
---@field problems string[] how it was not
local Knocker = {}
Knocker.__index = Knocker
Knocker.__name = "support.knocker"

local knocker = {}

-- A reset, so that ten thousand visits leave no port waiting.
local function leave(handle)
  if handle:is_closing() then return end
  if uv.handle_get_type(handle) == "tcp" and uv.tcp_close_reset(handle) then return end
  handle:close()
end

function Knocker:knock()
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
    leave(handle)
    self.handle = nil
    -- Whoever is refused does not ask again at once: one problem is enough to see.
    if not self.stopped and not problem then self:knock() end
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
---@return support.knocker
function knocker.start(address)
  local self = setmetatable({ address = address, count = 0, problems = {} }, Knocker)
  self:knock()
  return self
end

--- Wait until they were let in so often, all together; or one was not.
---@param list support.knocker[]
---@param count integer
---@return integer count
function knocker.wait(list, count)
  local total
  local reached = loop.wait_until(function()
    total = 0
    for _, each in ipairs(list) do
      total = total + each.count
      if #each.problems > 0 then return true end
    end
    return total >= count
  end)
  assert(reached, "nobody is let in any more")
  return total
end

--- Stop them.
---@param list support.knocker[]
---@return string[] problems of all
function knocker.stop(list)
  local problems = {}
  for _, each in ipairs(list) do
    each.stopped = true
    local handle = each.handle
    each.handle = nil
    if handle then leave(handle) end
    table.move(each.problems, 1, #each.problems, #problems + 1, problems)
  end
  uv.run("nowait")
  return problems
end

return knocker
