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

-- The server is this program when it is called by its own name. TIDEWIRE_TEST_REDIS names another
-- one, such as valkey-server.
local function find()
  local other = os.getenv("TIDEWIRE_TEST_REDIS")
  if other then return process.find(other) end
  return process.find("redis-server") or process.find("redis-check-rdb")
end

--- Why there is none, or nil.
---@return string?
function redis.missing()
  if find() and process.find("redis-cli") then return nil end
  return "Redis is not installed (scripts/install test)"
end

--- One command by redis-cli, through the Unix socket, and what that prints.
---@param self support.service
---@param ... string
---@return string
local function command(self, ...)
  local args = { "-s", self.path, table.unpack(self.cli) }
  local result = process.run("redis-cli", { args = table.move({ ... }, 1, select("#", ...),
    #args + 1, args) })
  return (result.stdout:gsub("\n$", ""))
end

-- Its command line: `args` are further settings; with `certificate`, the port speaks TLS.
local function arguments(self, args, certificate)
  local list = {
    "--bind", "127.0.0.1", "--unixsocket", self.path, "--dir", self.folder, "--save", "",
    "--appendonly", "yes", "--appendfsync", "no",
  }
  local function add(...) table.move({ ... }, 1, select("#", ...), #list + 1, list) end
  if certificate then
    add("--port", "0", "--tls-port", tostring(self.port), "--tls-auth-clients", "optional",
      "--tls-cert-file", certificate.certificate, "--tls-key-file", certificate.key,
      "--tls-ca-cert-file", certificate.certificate)
  else
    add("--port", tostring(self.port))
  end
  add(table.unpack(args))
  return list
end

---@class support.redis_options
---@field args string[]? further settings of its command line: { "--maxmemory", "10mb" }
---@field cli string[]? further arguments of redis-cli: { "-a", "secret" }
---@field certificate { certificate: string, key: string }? its port speaks TLS with this

local function kind_of(options)
  return {
    name = "Redis",
    stop_signal = "sigterm",
    command = function(self)
      local scheme = options.certificate and "rediss" or "redis"
      self.url = ("%s://127.0.0.1:%d"):format(scheme, self.port)
      self.path, self.cli = self.folder .. "/redis.sock", options.cli or {}
      return self.folder .. "/redis-server",
        arguments(self, options.args or {}, options.certificate)
    end,
    answers = function(self) return command(self, "PING") == "PONG" end,
  }
end

--- Starts one, and waits until it answers.
---@param options support.redis_options?
---@return support.service # with `url`, `path` (of its Unix socket) and `command`
function redis.start(options)
  local folder = process.make_directory()
  assert(uv.fs_symlink(assert(uv.fs_realpath(find())), folder .. "/redis-server"))
  local self = service.start(kind_of(options or {}), folder)
  self.command = command
  return self
end

return redis
