-- processes.lua -- the processes of the benchmark: builds the programs, starts and stops the
-- servers that are measured, and runs the load generator (load.c).
--
-- A server is on the first core, the load on the second. A server's output goes into a file.
-- Servers end with this process, however it ends. Knows nothing of what is measured.

local processes = {}

---On a busy machine, below valgrind.
local START_SECONDS = 120

local build, program
local temporary = {}
local on_server_core, on_load_core = "", ""

---Ends the benchmark with a sentence.
function processes.fail(format, ...)
  error({ sentence = format:format(...) }, 0)
end

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

---What a command prints, without the last newline; nil where it fails.
local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  return pipe:close() and text:gsub("\n$", "") or nil
end

---The text of a file, or nil.
---@param path string
---@return string|nil
function processes.read_file(path)
  local file <close> = io.open(path)
  return file and file:read "a"
end

---A file that `close` removes.
---@return string path
function processes.temporary_file()
  local path = os.tmpname()
  temporary[#temporary + 1] = path
  return path
end

---Builds what is measured, unless it is there, and looks for two cores.
---@param options { build: string|nil, program: string|nil }
function processes.open(options)
  build = options.build or "build/release"
  if not options.build and
    not os.execute "scripts/build release -- tidewire tidewire-bench >&2" then
    processes.fail "the programs could not be built"
  end
  program = options.program or build .. "/tidewire"
  on_server_core, on_load_core = "taskset -c 0 ", "taskset -c 1 "
  if not os.execute(on_server_core .. "true 2> /dev/null") or
    not os.execute(on_load_core .. "true 2> /dev/null") then
    io.stderr:write "scripts/bench: there are no two cores to use, so server and load disturb each "
    io.stderr:write "other\n"
    on_server_core, on_load_core = "", ""
  end
end

---Removes the files.
function processes.close()
  for _, path in ipairs(temporary) do os.remove(path) end
end

---A certificate and its key in one file.
---@return string path
function processes.make_certificate()
  local path = processes.temporary_file()
  local made = os.execute(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 " ..
    "-nodes -days 30 -subj /CN=localhost -keyout - 2> /dev/null > %s"):format(quoted(path)))
  if not made then processes.fail "no certificate was made" end
  return path
end

---How many files this process and its children may open; nil where there is no limit.
---@return integer|nil
function processes.max_files()
  return math.tointeger(tonumber(output_of "ulimit -n"))
end

---@class bench.Server
---@field pid integer
---@field port integer
---@field private output string  the file of what it writes
---@field private pipe file*
local Server = {}
Server.__index = Server

local function is_running(pid)
  local file <close> = io.open("/proc/" .. pid .. "/exe")
  return file ~= nil
end

local function wait_for_port(server, name)
  local deadline = os.time() + START_SECONDS
  repeat
    local text = processes.read_file(server.output) or ""
    local port = text:match "^port=(%d+)" or
      text:match " event=listening [^\n]*address=127%.0%.0%.1:(%d+)"
    if port then return math.tointeger(tonumber(port)) end
    os.execute "sleep 0.05"
  until os.time() > deadline or not is_running(server.pid)
  processes.fail("%s did not start:\n%s", name, processes.read_file(server.output) or "")
end

---Starts a server on a free port of 127.0.0.1.
---@param command string  for the shell
---@return bench.Server  ends it when closed
local function start(command, name)
  local output = processes.temporary_file()
  -- The shell prints its process id, and becomes the server.
  local pipe = assert(io.popen(("echo $$; exec setpriv --pdeathsig TERM %s%s > %s 2>&1"):format(
    on_server_core, command, quoted(output))))
  local server = setmetatable({ pipe = pipe, pid = pipe:read "n", output = output }, Server)
  local started, port = pcall(wait_for_port, server, name)
  if not started then
    server:stop()
    error(port, 0)
  end
  server.port = port
  return server
end

---Starts the yardstick.
---@param kind "echo"|"bcast"
---@return bench.Server
function processes.start_yardstick(kind)
  return start(("%s/bench/bench_raw_echo %s"):format(quoted(build), kind), "the yardstick")
end

---@class bench.Start
---@field certificate string|nil  a file: the server speaks TLS
---@field connections integer|nil  the limit on connections
---@field wrapper string|nil      a command that runs the server: valgrind
---@field environment table<string, any>|nil  variables that are set for it

---Starts Tidewire.
---@param app string  a file of this folder: "echo.lua"
---@param how bench.Start|nil
---@return bench.Server
function processes.start_tidewire(app, how)
  how = how or {}
  local command = ("%s %s bench/%s --listen 127.0.0.1:0"):format(how.wrapper or "",
    quoted(program), app)
  local environment = how.environment or {}
  environment.TIDEWIRE_LIMITS_CONNECTIONS = how.connections
  for name, value in pairs(environment) do
    command = ("env %s=%s %s"):format(name, quoted(tostring(value)), command)
  end
  if how.certificate then
    command = ("%s --tls-certificate %s"):format(command, quoted(how.certificate))
  end
  return start(command, "Tidewire")
end

---Ends the server, and waits for its end.
function Server:stop()
  if not self.pipe then return end
  os.execute("kill " .. self.pid .. " 2> /dev/null")
  self.pipe:close()
  self.pipe = nil
end

Server.__close = Server.stop

---Runs the load generator against a server.
---@param server bench.Server
---@param kind string       a measurement of load.c
---@param options table<string, any>  name -> value; true for those without one
---@return table<string, number>  the figures that it prints
function processes.load(server, kind, options)
  local names = {}
  for name in pairs(options) do names[#names + 1] = name end
  table.sort(names)
  local words = {}
  for _, name in ipairs(names) do
    local value = options[name]
    words[#words + 1] = "--" .. name:gsub("_", "-")
    if value ~= true then words[#words + 1] = tostring(value) end
  end
  local text = output_of(("%s%s/bench/bench_load %s --port %d --pid %d %s"):format(
    on_load_core, quoted(build), kind, server.port, server.pid, table.concat(words, " ")))
  if not text then
    processes.fail("the load '%s %s' failed; the server said:\n%s", kind,
      table.concat(words, " "), processes.read_file(server.output) or "")
  end
  local figures = {}
  for name, value in text:gmatch "([%w_]+)=(%S+)" do figures[name] = tonumber(value) end
  return figures
end

return processes
