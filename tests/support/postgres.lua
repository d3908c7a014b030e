-- postgres.lua -- a real PostgreSQL for the test, on a port of 127.0.0.1 and a Unix socket.
--
--     local database <close> = postgres.start()
--     database.url             "postgresql://tidewire@127.0.0.1:24680/postgres"
--     database:query("select count(*) from scores")
--
-- It trusts its clients, and does not wait for the disk: what is committed outlives the process,
-- not the machine. It refuses to run as root, so root's tests run it as another user.

local process = require "support.process"
local service = require "support.service"
local uv = require "luv"

local postgres = {}

local USER = "tidewire" -- of the database

local SETTINGS = {
  fsync = "off", jit = "off", autovacuum = "off", huge_pages = "off", shared_buffers = "4MB",
  max_connections = "60", max_wal_senders = "0", wal_level = "minimal",
}

-- The folder of the newest version's programs. Debian has them on no PATH.
local function programs()
  local newest, folder
  local scan = uv.fs_scandir("/usr/lib/postgresql")
  for name in function() return scan and (uv.fs_scandir_next(scan)) end do
    local version, bin = tonumber(name), ("/usr/lib/postgresql/%s/bin/"):format(name)
    if version and version > (newest or 0) and uv.fs_access(bin .. "initdb", "X") then
      newest, folder = version, bin
    end
  end
  return folder
end

--- Why there is none, or nil.
---@return string?
function postgres.missing()
  if programs() then return nil end
  return "PostgreSQL is not installed (scripts/install test)"
end

-- The user as which root's tests run it: the package's, or one without rights.
local function other_user()
  if uv.getuid() ~= 0 then return nil end
  local users = "\n" .. process.read_file("/etc/passwd")
  for _, name in ipairs({ "postgres", "nobody" }) do
    local uid, gid = users:match("\n" .. name .. ":[^:]*:(%d+):(%d+):")
    if uid then return { name = name, uid = tonumber(uid), gid = tonumber(gid) } end
  end
  error("root cannot run PostgreSQL, and there is no user postgres or nobody")
end

-- A program of PostgreSQL's and its arguments, as that user.
local function as_user(user, program, args)
  program = programs() .. program
  if not user then return program, args end
  table.move(args, 1, #args, 6)
  args[1], args[2] = "--reuid=" .. user.uid, "--regid=" .. user.gid
  args[3], args[4], args[5] = "--clear-groups", "--", program
  return "setpriv", args
end

--- What psql prints for SQL: lines of values with | between them.
---@param self support.service
---@param sql string
---@return string? text nil and a message when the server does not answer, or with an error
---@return string? problem
local function query(self, sql)
  local result = process.run(programs() .. "psql", {
    args = { "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.url, "-c", sql },
  })
  if result.code ~= 0 then return nil, result.stderr end
  return (result.stdout:gsub("\n$", ""))
end

local KIND = {
  name = "PostgreSQL",
  stop_signal = "sigint", -- its clients are disconnected
  command = function(self)
    self.url = ("postgresql://%s@127.0.0.1:%d/postgres"):format(USER, self.port)
    local args = {
      "-D", self.folder .. "/data", "-c", "listen_addresses=127.0.0.1",
      "-c", "port=" .. self.port, "-c", "unix_socket_directories=" .. self.folder,
    }
    for name, value in pairs(SETTINGS) do
      args[#args + 1] = "-c"
      args[#args + 1] = name .. "=" .. value
    end
    return as_user(other_user(), "postgres", args)
  end,
  answers = function(self) return query(self, "select 1") == "1" end,
}

--- Starts one, and waits until it answers.
---@return support.service # with `url`, `folder` (its Unix socket is there) and `query`
function postgres.start()
  local folder, user = process.make_directory(), other_user()
  if user then assert(uv.fs_chown(folder, user.uid, user.gid)) end
  local program, args = as_user(user, "initdb", {
    "-D", folder .. "/data", "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync",
  })
  local made = process.run(program, { args = args })
  assert(made.code == 0, made.stderr)
  local self = service.start(KIND, folder)
  self.query = query
  return self
end

return postgres
