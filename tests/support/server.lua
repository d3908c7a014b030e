-- server.lua -- the real program, started with an app that the test gives as text.
--
-- Each server has a folder of its own, free ports of 127.0.0.1, a log file, and a file in which the
-- app's hooks record their calls (record.lua). `stop` is part of every test: it ends the program
-- with SIGTERM and throws when that was not clean. Owns the process and the folder. Knows the
-- command line and the log of Tidewire, not its internals.
--
--     local app <close> = server.start({ app = [[ return { handle_message = … } ]] })
--     local ada = app:connect("/")

local certificates = require "support.certificates"
local client = require "support.client"
local http = require "support.http"
local loop = require "support.loop"
local process = require "support.process"
local stream = require "support.stream"

---@class support.server
---@field process support.process
---@field pid integer
---@field directory string its folder; the app is app.lua in it
---@field addresses support.address[] where it listens, in the log's order; without the admin
---  address
---@field admin support.address? the admin address
---@field workers integer how many it has
local Server = {}
Server.__index = Server
Server.__name = "support.server"

local server = {}

--- The program under test: TIDEWIRE_BIN, or the debug build.
---@return string path
function server.binary()
  local path = os.getenv("TIDEWIRE_BIN") or "build/debug/tidewire"
  if not path:find("^/") then path = require("luv").cwd() .. "/" .. path end
  return path
end

-- What a sanitizer, or the program itself, writes when something is wrong. None may stand in a log.
local COMPLAINTS = {
  "ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer", "runtime error:",
  "Assertion", "event=leak", "[Ll]eak", "PANIC",
}

-- Modules for apps, put beside them, and where their source is.
local MODULES = {
  record = assert(package.searchpath("support.record", package.path)),
  here = assert(package.searchpath("support.here", package.path)),
  chunks = assert(package.searchpath("support.chunks", package.path)),
}

-- Ordinary work of a script has no limit that a slow machine reaches. Where the app, or a file
-- beside it, names one of these limits, its value is what the test is about.
local AMPLE = {
  handler_timeout = "TIDEWIRE_HANDLER_TIMEOUT", load_timeout = "TIDEWIRE_LIMITS_LOAD_TIMEOUT",
}
local AMPLE_SECONDS = "60"

local function set_ample_limits(environment, options)
  local sources = { options.app or process.read_file(options.app_path or "") or "" }
  for _, text in pairs(options.files or {}) do sources[#sources + 1] = text end
  local source = table.concat(sources)
  for name, variable in pairs(AMPLE) do
    if not source:find(name, 1, true) then environment[variable] = AMPLE_SECONDS end
  end
end

---@class support.server_options
---@field app string? the app's source
---@field app_path string? or a file that exists
---@field files table<string, string>? more files, by their path in the folder
---@field listen string[]? default { "127.0.0.1:0" }; {} leaves it to the app, the environment and
---  the defaults
---@field options string[]? more of the command line
---@field environment table<string, string|false>? false leaves out what the kit would set
---@field workers integer? their number; default: TIDEWIRE_TEST_WORKERS, or the app's
---@field shell string? what a shell does before it becomes the program, or in place of that: "$0"
---  and "$@" are it
---@field prepare? fun(folder: string) called when its files are there, before it starts
---@field descriptors integer? how many the process may have (`ulimit -n`)
---@field sockets integer[]? descriptors of ours that are passed as systemd passes them
---@field stdout string? a file or FIFO for its standard output
---@field stderr string? a file or FIFO for its standard error, which the kit does not read then
---@field closed integer[]? of the descriptors 0, 1 and 2, those that the program is started without

-- "127.0.0.1:80", "[::1]:80" or "unix:/path" as an address.
local function parse_address(text)
  local path = text:match("^unix:(.+)$")
  if path then return { path = path } end
  local host, port = text:match("^%[?([^%]]-)%]?:(%d+)$")
  assert(host, "the log tells an address that cannot be read: " .. text)
  return { host = host, port = tonumber(port) }
end

--- Start the program without waiting for anything.
---@param options support.server_options
---@return support.server
function server.launch(options)
  local folder = process.make_directory()
  local self = setmetatable({ directory = folder, seen = {}, read = 0, addresses = {} }, Server)
  for name, path in pairs(MODULES) do
    process.write_file(("%s/%s.lua"):format(folder, name), process.read_file(path))
  end
  for path, text in pairs(options.files or {}) do
    local parent = path:match("^(.*)/[^/]*$")
    if parent then os.execute(("mkdir -p '%s/%s'"):format(folder, parent)) end
    process.write_file(folder .. "/" .. path, text)
  end
  if options.app then process.write_file(folder .. "/app.lua", options.app) end
  if options.prepare then options.prepare(folder) end
  local args = { options.app_path or "app.lua" }
  for _, address in ipairs(options.listen or { "127.0.0.1:0" }) do
    args[#args + 1] = "--listen"
    args[#args + 1] = address
  end
  table.move(options.options or {}, 1, #(options.options or {}), #args + 1, args)
  local workers = options.workers or os.getenv("TIDEWIRE_TEST_WORKERS")
  local environment = {
    RECORD_FILE = folder .. "/events", TIDEWIRE_WORKERS = workers and tostring(workers),
  }
  set_ample_limits(environment, options)
  for name, value in pairs(options.environment or {}) do environment[name] = value or nil end
  if os.getenv("TIDEWIRE_TEST_TLS") and environment.TIDEWIRE_TLS_CERTIFICATE == nil then
    environment.TIDEWIRE_TLS_CERTIFICATE, environment.TIDEWIRE_TLS_KEY = certificates.shared()
  end
  local before = {}
  before[1] = options.shell
  if options.descriptors then
    before[#before + 1] = ("ulimit -n %d;"):format(options.descriptors)
  end
  if options.sockets then
    environment.LISTEN_FDS = environment.LISTEN_FDS or tostring(#options.sockets)
    before[#before + 1] = "export LISTEN_PID=$$;" -- which it keeps when it becomes the program
  end
  local binary = server.binary()
  local after = {}
  for _, descriptor in ipairs(options.closed or {}) do
    after[#after + 1] = (" %d>&-"):format(descriptor)
  end
  if options.stdout then after[#after + 1] = (" >'%s'"):format(options.stdout) end
  if options.stderr then after[#after + 1] = (" 2>'%s'"):format(options.stderr) end
  if #before + #after > 0 then
    table.move(args, 1, #args, 4)
    args[1], args[2] =
      "-c", table.concat(before, " ") .. " exec \"$0\" \"$@\"" .. table.concat(after)
    args[3] = binary
    binary = "/bin/sh"
  end
  self.process = process.start(binary, {
    args = args,
    directory = folder,
    environment = environment,
    stdout = folder .. "/stdout",
    stderr = folder .. "/stderr",
    descriptors = options.sockets,
  })
  self.pid = self.process.pid
  return self
end

--- Starts a program that ends by itself, because it cannot start.
---@param options support.server_options
---@return integer? code nil when it did not end in time, and was killed
---@return string log
function server.launch_to_end(options)
  local self = server.launch(options)
  local code, log = self.process:wait_exit(), self:log()
  self:kill()
  return code, log
end

--- Start the program and wait until it is ready.
---@param options support.server_options
---@return support.server
function server.start(options)
  local self = server.launch(options)
  local ready = loop.wait_until(function()
    return self:log():find("event=ready", 1, true) or self:log():find('"event":"ready"', 1, true)
      or self.process.exit_code
  end)
  if not ready or self.process.exit_code then
    local log = self:log()
    self:kill()
    error("the server did not become ready; its log:\n" .. log, 2)
  end
  for line in self:log():gmatch("[^\n]+") do
    local address = line:match('event=listening.- address="?([^"%s]+)')
      or line:match('"event":"listening".-"address":"([^"]+)"')
    if address and line:find("admin", 1, true) then
      self.admin = parse_address(address)
    elseif address then
      self.addresses[#self.addresses + 1] = parse_address(address)
    end
  end
  local tls = self:log():find("event=ready.- tls=on")
    or self:log():find('"event":"ready".-"tls":"on"')
  for _, address in ipairs(self.addresses) do
    address.tls = tls and not address.path and true or nil
  end
  self.workers =
    tonumber(self:log():match("event=ready.- workers=(%d+)") or self:log():match('"workers":(%d+)'))
  return self
end

--- Run the program to its end, with a command line of the test's own.
---@param args string[]
---@param options support.process_options?
---@return support.result
function server.run(args, options)
  options = options or {}
  options.args = args
  return process.run(server.binary(), options)
end

--- The URL of a path on the first address (or the one of that number).
---@param path string? "/" when left out
---@param number integer?
---@return string
function Server:url(path, number)
  local address = self.addresses[number or 1]
  path = path or "/"
  if address.path then return "ws+unix:" .. address.path .. ":" .. path end
  local host = address.host:find(":", 1, true) and "[" .. address.host .. "]" or address.host
  return ("%s://%s:%d%s"):format(address.tls and "wss" or "ws", host, address.port, path)
end

--- Connect a client; throws what the server answered when it refused.
---@param path string?
---@param options support.connect_options?
---@return support.client
function Server:connect(path, options)
  local peer, status, headers, body = client.connect(self:url(path), options)
  if not peer then
    error(("no connection to %s: %s %s %s"):format(path or "/", status, headers, body), 2)
  end
  return peer
end

local function with_worker(path, worker)
  return ("%s%sworker=%d"):format(path, path:find("?", 1, true) and "&" or "?", worker)
end

--- Connect a client to this worker, the first is 0. The endpoint's `validate` must be (or ask)
--- here.validate.
---@param worker integer
---@param path string?
---@param options support.connect_options?
---@return support.client
function Server:connect_on(worker, path, options)
  local url = self:url(with_worker(path or "/", worker))
  local deadline = loop.now() + loop.patience
  local peer, status, headers, body
  repeat
    peer, status, headers, body = client.connect(url, options)
  until status ~= 421 or loop.now() > deadline
  if not peer then
    error(("no connection to %s: %s %s %s"):format(url, status, headers, body), 2)
  end
  return peer
end

--- One plain HTTP request to the first address, answered by this worker. The route must be wrapped
--- in here.route.
---@param worker integer
---@param request support.request|string
---@return support.response
function Server:http_on(worker, request)
  if type(request) == "string" then request = { path = request } end
  local asked = setmetatable({ path = with_worker(request.path or "/", worker) },
    { __index = request })
  local deadline = loop.now() + loop.patience
  local response
  repeat
    response = self:http(asked)
  until response.status ~= 421 or loop.now() > deadline
  return response
end

--- One plain HTTP request to the first address.
---@param request support.request|string
---@return support.response
function Server:http(request)
  local response, problem = http.request(self.addresses[1], request)
  return response or error("no answer: " .. problem, 2)
end

--- Send bytes to the first address and read an HTTP answer: nil and how it ended when there is
--- none.
---@param bytes string
---@param method string?
---@param seconds number?
---@return support.response?, string?
function Server:raw(bytes, method, seconds)
  return http.raw(self.addresses[1], bytes, method, seconds)
end

--- All that it has written to its standard error so far: the log.
---@return string
function Server:log()
  return process.read_file(self.directory .. "/stderr") or ""
end

--- All that it has written to its standard output so far.
---@return string
function Server:output()
  return process.read_file(self.directory .. "/stdout") or ""
end

--- The log's lines that match a Lua pattern.
---@param pattern string
---@return string[]
function Server:log_lines(pattern)
  local found = {}
  for line in self:log():gmatch("[^\n]+") do
    if line:find(pattern) then found[#found + 1] = line end
  end
  return found
end

--- Wait for a log line that matches a Lua pattern.
---@param pattern string
---@param seconds number?
---@return string? line
function Server:wait_for_log(pattern, seconds)
  return loop.wait_until(function() return self:log_lines(pattern)[1] end, seconds)
end

-- Read what record.lua has added.
local function read_events(self)
  local file = io.open(self.directory .. "/events", "rb")
  if not file then return end
  file:seek("set", self.read)
  for line in file:lines("L") do
    if line:sub(-1) ~= "\n" then break end
    self.read = self.read + #line
    self.seen[#self.seen + 1] = assert(load("return {" .. line .. "}"))()
  end
  file:close()
end

--- What the hooks recorded so far, in order: each { name, …, n = number of values }.
---@param name string? only those of this name
---@return table[]
function Server:events(name)
  read_events(self)
  local found = {}
  for _, event in ipairs(self.seen) do
    if not name or event[1] == name then found[#found + 1] = event end
  end
  return found
end

--- Wait until `count` events of a name were recorded, and return the last of these.
---@param name string
---@param count integer? 1 when left out
---@param seconds number?
---@return table event
function Server:wait_event(name, count, seconds)
  local event = loop.wait_until(function() return self:events(name)[count or 1] end, seconds)
  if event then return event end
  error(("only %d of %d events %q came"):format(#self:events(name), count or 1, name), 2)
end

--- The names of all recorded events in order, as one string: "start message close".
---@return string
function Server:event_names()
  local names = {}
  for _, event in ipairs(self:events()) do names[#names + 1] = event[1] end
  return table.concat(names, " ")
end

---@param name string "sigterm", …
function Server:signal(name)
  self.process:signal(name)
end

--- Is it alive and does it still accept connections?
---@return boolean
function Server:is_alive()
  if not self.process:is_running() then return false end
  local source = stream.connect(self.addresses[1])
  if source then source:close() end
  return source ~= nil
end

-- Throw when the program's end, or its log, was not clean.
local function check_end(self, expected_code)
  local code, signal, log = self.process.exit_code, self.process.exit_signal, self:log()
  for _, complaint in ipairs(COMPLAINTS) do
    local at = log:find(complaint)
    if at then
      error("the server's log complains:\n" .. log:sub(math.max(1, at - 500), at + 4000), 3)
    end
  end
  if code ~= expected_code or signal ~= 0 then
    error(("the server ended with code %s, signal %s; its log ends:\n%s")
      :format(code, signal, log:sub(-3000)), 3)
  end
end

--- End the program with SIGTERM (unless it has ended) and check that it ended clean. All streams of
--- the test are closed first. Idempotent.
---@param expected_code integer? exit code; 0 when left out
function Server:stop(expected_code)
  if self.stopped then return end
  self.stopped = true
  stream.close_all()
  self.process:signal("sigterm")
  local code = self.process:wait_exit(loop.patience + 15)
  if not code then
    local log = self:log():sub(-3000)
    self:kill()
    error("SIGTERM did not end the server; its log ends:\n" .. log, 2)
  end
  local clean, problem = pcall(check_end, self, expected_code or 0)
  process.remove_directory(self.directory)
  if not clean then error(problem, 2) end
end

--- End it at once, and check nothing.
function Server:kill()
  self.stopped = true
  self.process:signal("sigkill")
  self.process:wait_exit()
  process.remove_directory(self.directory)
end

-- `local app <close> = …`: a failed test has its reason, so nothing more is checked then; the log
-- may help to see it.
function Server:__close(failure)
  if not failure then return self:stop() end
  stream.close_all()
  if self.stopped then return end
  io.stderr:write("\n-- the server's log ends:\n", self:log():sub(-3000), "\n-- ",
    self.process:threads(), "\n--\n")
  self:kill()
end

return server
