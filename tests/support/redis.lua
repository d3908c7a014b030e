-- redis.lua -- a real Redis for the test, on a port of 127.0.0.1 and a Unix socket.
--
--     local redis <close> = redis_server.start()
--     redis.url              "redis://127.0.0.1:24680"
--     redis:command("GET", "name")
--
-- What it has answered is in its append-only file, so it has it again after a kill and a start.
-- Debian's redis-tools contains the server, by the name of one of the tools, and starts none.

local process = require "support.process"
local service = require "support.service"
local uv = require "luv"

local redis = {}

-- The server is this program when it is called by its own name.
local function find()
  return process.find("redis-server") or process.find("redis-check-rdb")
end

--- Why there is none, or nil.
---@return string?
function redis.missing()
  if find() and process.find("redis-cli") then return nil end
  return "Redis is not installed (scripts/install test)"
end

--- One command by redis-cli, and what that prints.
---@param self support.service
---@param ... string
---@return string
local function command(self, ...)
  local result = process.run("redis-cli", { args = { "-p", tostring(self.port), ... } })
  return (result.stdout:gsub("\n$", ""))
end

local KIND = {
  name = "Redis",
  stop_signal = "sigterm",
  command = function(self)
    self.url, self.path = "redis://127.0.0.1:" .. self.port, self.folder .. "/redis.sock"
    return self.folder .. "/redis-server", {
      "--bind", "127.0.0.1", "--port", tostring(self.port), "--unixsocket", self.path,
      "--dir", self.folder, "--save", "", "--appendonly", "yes", "--appendfsync", "no",
    }
  end,
  answers = function(self) return command(self, "PING") == "PONG" end,
}

--- Starts one, and waits until it answers.
---@return support.service # with `url`, `path` (of its Unix socket) and `command`
function redis.start()
  local folder = process.make_directory()
  assert(uv.fs_symlink(assert(uv.fs_realpath(find())), folder .. "/redis-server"))
  local self = service.start(KIND, folder)
  self.command = command
  return self
end

return redis
