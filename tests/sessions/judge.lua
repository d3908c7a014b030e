-- judge.lua -- many clients with sessions, whose sockets are cut at random moments, against one
-- server, which is reloaded, started again, replaced or killed meanwhile. Counts what was said and
-- heard, and collects what may not be.
--
-- Every message comes exactly once and in order, or the client is told `resumed: false` where that
-- may be (options.may_lose). Owns the servers. run.lua and the specs use it.

local cjson = require "cjson"

local http = require "support.http"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local player = require "sessions.player"
local tasks = require "soak.tasks"

local judge = {}

---@class sessions.judge
local Judge = {}
Judge.__index = Judge

local KILLS <const> = { kill = true, mixed = true }
local WAYS <const> = { "reset", "fin", "going away", "close", "swallow", "deaf" }
local APP <const> = assert(process.read_file((assert(
  package.searchpath("sessions.app", package.path)))))

---@class sessions.options
---@field clients integer?
---@field seconds number? how long sockets are cut; the end takes as long as it takes
---@field seed integer?
---@field workers integer?
---@field tls boolean?
---@field mean_seconds number? between two cuts of a client
---@field reload_seconds number? between two reloads; 0 or nil: none
---@field change string? "restart", "upgrade", "kill", "mixed": what happens to the server each
---  change_seconds
---@field change_seconds number?
---@field environment table<string, string>? for the app
---@field may_lose boolean? `resumed: false` may come at any time
---@field may_time_out boolean? a silent socket may be closed with 4408
---@field routes boolean? routes are dropped as well (run.lua has made a network namespace)
---@field say fun(text: string)?

function Judge:fault(format, ...)
  local text = format:format(...)
  self.faults[#self.faults + 1] = text
  if #self.faults <= 20 then self.say("FAULT " .. text) end
end

-- ---- what players tell ----

function Judge:on_cut(who, how)
  self.cuts[how] = (self.cuts[how] or 0) + 1
  if how ~= "route" or not who.from then return end
  os.execute(("ip rule add pref 50 from %s blackhole; ip rule add pref 50 to %s blackhole")
    :format(who.from, who.from))
  self.dropped[#self.dropped + 1] = who.from
end

function Judge:on_lost(who)
  self.lost = self.lost + 1
  if not self.options.may_lose then who:fault("resumed: false") end
end

-- By the server's will, or with it.
function Judge:on_end(who, code, reason)
  self.ends[code] = (self.ends[code] or 0) + 1
  if code == 1006 or code == 1001 or code == 1012 then return end
  if self.options.may_lose and code == 1008 or self.options.may_time_out and code == 4408 then
    return
  end
  who:fault("the server has closed with %d %s", code, reason or "")
end

function Judge:on_abandoned_end(who, code, reason)
  self.abandoned_ends[code] = (self.abandoned_ends[code] or 0) + 1
  if code == 4409 and reason == "replaced" then return end
  if self.options.change or self.options.may_lose or code == 1006 then return end
  if self.options.may_time_out and code == 4408 then return end
  who:fault("a replaced socket was closed with %d %s", code, reason or "")
end

-- Another address each time, where routes are dropped.
function Judge:connect_options(who)
  if not self.options.routes then return {} end
  self.sources = self.sources + 1
  local n = self.sources
  who.from = ("127.%d.%d.%d"):format(1 + n // 62500 % 250, n // 250 % 250, 2 + n % 250)
  return { from = who.from }
end

-- ---- the server ----

local function start(self, more)
  local options = self.options
  local environment = {}
  for name, value in pairs(options.environment or {}) do environment[name] = value end
  if options.change then environment.JUDGE_STATE = self.folder .. "/state" end
  if options.tls then
    environment.TIDEWIRE_TLS_CERTIFICATE, environment.TIDEWIRE_TLS_KEY =
      require("support.certificates").shared()
  end
  environment.TIDEWIRE_LOG_LEVEL = "info"
  local command = { "--pid-file", self.folder .. "/pid", table.unpack(more or {}) }
  local app = server.start {
    app = self:text(), workers = options.workers, environment = environment, options = command,
    listen = { self.address and ("%s:%d"):format(self.address.host, self.address.port)
      or "127.0.0.1:0" },
  }
  self.address = self.address or app.addresses[1]
  self.app = app
  self.servers[#self.servers + 1] = app
end

-- The app's code, which is new each time.
function Judge:text()
  self.version = self.version + 1
  return (APP:gsub("local VERSION = 1", "local VERSION = " .. self.version, 1))
end

local changes = {}

function changes.restart(self)
  local old = self.app
  old:signal("sigterm")
  local code = old.process:wait_exit()
  if code ~= 0 then self:fault("SIGTERM ended the server with %s", tostring(code)) end
  start(self)
end

function changes.upgrade(self)
  local old = self.app
  start(self, { "--upgrade" })
  local code = old.process:wait_exit()
  if code ~= 0 then self:fault("an upgrade ended the old server with %s", tostring(code)) end
end

function changes.kill(self)
  local old = self.app
  table.remove(self.servers)
  old.process:signal("sigkill")
  old.process:wait_exit()
  self:read_faults(old)
  start(self)
  if not self.app:wait_for_log("event=state_lost") then self:fault("no word about a lost state") end
  old:kill()
end

-- A state that was taken once must not come back.
function changes.mixed(self)
  changes[math.random(2) == 1 and "kill" or "restart"](self)
end

local function reload(self)
  local app = self.app
  process.replace_file(app.directory .. "/app.lua", self:text())
  app:signal("sighup")
end

-- What the app has found.
function Judge:read_faults(app)
  for _, line in ipairs(app:log_lines("judge fault")) do self:fault("%s", line) end
  for _, line in ipairs(app:log_lines("event=script_error")) do self:fault("%s", line) end
end

-- ---- the run ----

local function each_seconds(self, seconds, f)
  tasks.start(function()
    while true do
      loop.wait_until(function() return self.is_finishing end, seconds * (0.5 + math.random()))
      if self.is_finishing then return end
      self.busy = self.busy + 1
      f(self)
      self.busy = self.busy - 1
    end
  end, function(text)
    self.busy = self.busy - 1
    self.failed = self.failed or text
  end)
end

function Judge:progress(phase)
  local cuts, done, resumed = 0, 0, 0
  for _, count in pairs(self.cuts) do cuts = cuts + count end
  for _, each in ipairs(self.players) do
    resumed = resumed + each.session.resumed
    if each.done then done = done + 1 end
  end
  return ("%s %.0f s: %d clients (%d done), %d sent, %d received (%d broadcasts), %d cuts, "
    .. "%d resumed, %d not, %d changes, %d faults"):format(phase, loop.now() - self.began,
    #self.players, done, self.said, self.heard, self.broadcasts, cuts, resumed, self.lost,
    self.changed, #self.faults)
end

local function step(self)
  for _, each in ipairs(self.players) do
    local good, problem = xpcall(each.step, debug.traceback, each)
    if not good then
      each:fault("%s", problem)
      each.done = true
    end
  end
  if self.busy == 0 and not self.app.process:is_running() then
    self.failed = "the server has ended with " .. self.app.process.exit_code
  end
  local now = loop.now()
  if now >= self.tell_at then
    self.tell_at = now + self.tell_seconds
    self.tell(self:progress(self.is_finishing and "end" or "cut"))
  end
end

local function are_all_done(self)
  for _, each in ipairs(self.players) do if not each.done then return false end end
  return true
end

-- Waits while anything goes on: a message that comes, or a client that comes back.
local function finish(self)
  self.is_finishing = true
  local heard, since = -1, loop.now()
  tasks.run_until(function()
    step(self)
    if self.heard ~= heard or self.busy > 0 then heard, since = self.heard, loop.now() end
    return self.failed or are_all_done(self) and self.busy == 0
      or loop.now() - since > loop.patience or #self.faults > 500
  end, math.huge)
  if self.failed then error(self.failed, 0) end
  for _, each in ipairs(self.players) do
    if not each.done then
      each:fault("not finished: %s, %d sent, %d acknowledged, the app has got %d",
        each.session.state, each.session.sent, each.session.acknowledged, each.n)
    end
    each.session:drop_abandoned()
  end
end

local function clear_routes(self)
  for _, from in ipairs(self.dropped) do
    os.execute(("ip rule del pref 50 from %s; ip rule del pref 50 to %s"):format(from, from))
  end
  self.dropped = {}
end

-- What the app has counted.
local function check_counts(self)
  local counts
  loop.wait_until(function()
    local response = assert(http.request(self.address, "/judge"))
    counts = cjson.decode(response.body)
    return counts.open == 0
  end)
  self.counts = counts
  if counts.open ~= 0 then self:fault("%d sessions are left", counts.open) end
  if counts.closes ~= counts.starts and not KILLS[self.options.change] then
    self:fault("%d times on_start, %d times on_close", counts.starts, counts.closes)
  end
  local senders = 0
  for _ in pairs(self.senders) do senders = senders + 1 end
  if senders > (self.options.workers or 1) and not KILLS[self.options.change] then
    self:fault("broadcasts are of %d senders: tw.keep was lost", senders)
  end
  if self.options.reload_seconds and not self.options.change and counts.version <= 1 then
    self:fault("no new code runs")
  end
  if counts.faults ~= 0 then self:fault("the app has found %d faults", counts.faults) end
end

--- One run. Throws where the server does not start or end as it should.
---@param options sessions.options
---@return sessions.judge
function judge.run(options)
  local self = setmetatable({
    options = options, say = options.say or function() end, players = {}, servers = {},
    tell = options.tell or function() end, tell_at = 0, tell_seconds = options.tell_seconds or 1,
    folder = process.make_directory(), version = 0, faults = {}, cuts = {}, ends = {},
    abandoned_ends = {}, dropped = {}, sources = 0, said = 0, heard = 0, broadcasts = 0, lost = 0,
    busy = 0, changed = 0, refused = 0, senders = {}, began = loop.now(),
    mean_seconds = options.mean_seconds or 2, away_seconds = options.away_seconds or 0.5,
    say_seconds = options.say_seconds or 0.2,
    ways = options.routes and table.move(WAYS, 1, #WAYS, 1, { [7] = "route" }) or WAYS,
  }, Judge)
  local _ <close> = setmetatable({}, { __close = function(_, problem)
    stream.close_all()
    for _, app in ipairs(problem and self.servers or {}) do
      self.say(app:log():sub(-3000))
      app:kill()
    end
    process.remove_directory(self.folder)
  end })
  math.randomseed(options.seed)
  start(self)
  for i = 1, options.clients do self.players[i] = player.new(self, i, self.address) end
  if (options.reload_seconds or 0) > 0 then each_seconds(self, options.reload_seconds, reload) end
  if options.change then
    each_seconds(self, options.change_seconds or 5, function()
      changes[options.change](self)
      self.changed = self.changed + 1
    end)
  end
  local until_time = loop.now() + options.seconds
  tasks.run_until(function()
    step(self)
    return self.failed or #self.faults > 500 or loop.now() >= until_time
  end, math.huge)
  finish(self)
  clear_routes(self)
  if #self.faults == 0 then check_counts(self) end
  for _, app in ipairs(self.servers) do self:read_faults(app) end
  for i = #self.servers, 1, -1 do
    local good, problem = pcall(self.servers[i].stop, self.servers[i])
    if not good then self:fault("%s", problem) end
  end
  self.tell(self:progress("done"))
  return self
end

return judge
