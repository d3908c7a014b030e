-- redis_driver.lua -- runs build/…/tests/redis_driver, which is src/cluster/redis with lines of
-- text on both sides, and waits for its lines.
--
--     local driver <close> = redis_driver.start(redis.url)
--     driver:wait "^up 0 new"
--     driver:say("command 0 PING")
--     driver:wait "^reply PONG$"

local loop = require "support.loop"
local uv = require "luv"

---@class support.redis_driver
---@field lines string[] all that it has printed
---@field next integer the first line that no wait has found yet
local Driver = {}
Driver.__index = Driver
Driver.__name = "support.redis_driver"

local redis_driver = {}

--- Starts one for these URLs.
---@param ... string
---@return support.redis_driver
function redis_driver.start(...)
  local self = setmetatable({ lines = {}, next = 1 }, Driver)
  local pid
  local folder = os.getenv("TIDEWIRE_BUILD_DIR") or "build/debug"
  self.stdin, self.stdout = uv.new_pipe(), uv.new_pipe()
  self.process, pid = uv.spawn(folder .. "/tests/redis_driver", {
    args = { ... }, stdio = { self.stdin, self.stdout, 2 },
  }, function(code)
    self.exit_code = code
    self.process:close()
  end)
  assert(self.process, pid)
  self.pid = pid
  local rest = ""
  self.stdout:read_start(function(_, bytes)
    if not bytes then
      self.ended = true
      return
    end
    rest = (rest .. bytes):gsub("([^\n]*)\n", function(line)
      table.insert(self.lines, line)
      return ""
    end)
  end)
  return self
end

--- Gives it a line.
---@param line string
function Driver:say(line)
  self.stdin:write(line .. "\n")
end

--- Waits for a line behind those that earlier waits have found, and returns what the pattern
--- captures, or the line.
---@param pattern string
---@return string ...
function Driver:wait(pattern)
  local found = table.pack(loop.wait_until(function()
    for at = self.next, #self.lines do
      local results = table.pack(self.lines[at]:match(pattern))
      if results[1] then
        self.next = at + 1
        return table.unpack(results, 1, results.n)
      end
    end
    return self.ended and error("it has ended: " .. table.concat(self.lines, "\n", 1))
  end))
  if found[1] then return table.unpack(found, 1, found.n) end
  error(("no line %q in:\n%s"):format(pattern, table.concat(self.lines, "\n", self.next)), 2)
end

--- Stops it, as a busy machine would; `continue` lets it go on.
function Driver:pause()
  uv.kill(self.pid, "sigstop")
end

function Driver:continue()
  uv.kill(self.pid, "sigcont")
end

--- How many of its lines match.
---@param pattern string
---@return integer
function Driver:count(pattern)
  local count = 0
  for _, line in ipairs(self.lines) do
    if line:find(pattern) then count = count + 1 end
  end
  return count
end

--- Ends it, and checks that it has released everything.
function Driver:stop()
  if self.stopped then return end
  self.stopped = true
  self.stdin:close()
  assert(loop.wait_until(function() return self.exit_code and self.ended end), "it does not end")
  self.stdout:close()
  assert(self.exit_code == 0, ("it ended with %s"):format(self.exit_code))
  assert(self.lines[#self.lines] == "closed 0", self.lines[#self.lines])
end

Driver.__close = Driver.stop

return redis_driver
