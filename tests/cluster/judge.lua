-- judge.lua -- one run of the cluster's test: nodes, Redis, clients, and rounds of faults. After
-- each the judgement: of messages (model.lua), members, watches, users, memories and figures.
--
-- Owns the processes. Everything waits within tasks (soak/tasks.lua), so clients and the links
-- between nodes and Redis go on meanwhile.

local cjson = require "cjson"

local http = require "support.http"
local link = require "support.link"
local loop = require "support.loop"
local process = require "support.process"
local redis_server = require "support.redis"
local server = require "support.server"
local stream = require "support.stream"
local tasks = require "soak.tasks"

local faults = require "cluster.faults"
local model = require "cluster.model"
local player = require "cluster.player"
local views = require "cluster.views"

local judge = {}

---@class cluster.judge
local Judge = {}
Judge.__index = Judge

local APP <const> = assert(process.read_file((assert(
  package.searchpath("cluster.app", package.path)))))
local FACTOR <const> = loop.patience / 60
-- Members are right so many seconds after the last fault.
local MEMBERS_SECONDS <const> = 13 * FACTOR

---@class cluster.options
---@field clients integer
---@field nodes integer
---@field workers integer?
---@field seconds number
---@field seed integer
---@field faults string[] their names
---@field rooms string[] in which they are (player.ROOMS)
---@field sessions boolean? some of them have sessions
---@field members boolean? members, users and watches are judged
---@field act_seconds number between two acts of a client
---@field say fun(text: string)
---@field tell fun(text: string)
---@field tell_seconds number

function Judge:fault(format, ...)
  local text = ("%.2f: "):format(loop.now() - self.began) .. format:format(...)
  self.faults[#self.faults + 1] = text
  if #self.faults <= 30 then self.say("FAULT " .. text) end
end

-- ---- nodes ----

---@class cluster.node
local Node = {}
Node.__index = Node

local function start_node(node, more)
  local judge_of = node.judge
  local options = judge_of.options
  local command = { "--admin", "127.0.0.1:0", "--pid-file", node.folder .. "/pid",
    "--drain-seconds", "5", table.unpack(more or {}) }
  node.app = server.start {
    app = APP, workers = options.workers, options = command,
    environment = {
      TIDEWIRE_CLUSTER = "redis://127.0.0.1:" .. node.link.port, TIDEWIRE_LOG_LEVEL = "info",
      JUDGE_SECONDS = tostring(8 * FACTOR),
    },
    listen = { node.address and ("%s:%d"):format(node.address.host, node.address.port)
      or "127.0.0.1:0" },
  }
  node.address = node.address or node.app.addresses[1]
  node.is_up, node.started_at, node.lost_base = true, loop.now(), 0
end

-- What its log has, before it goes.
local function end_node(node)
  node:read_faults()
  node.judge.lost_counted = node.judge.lost_counted + (node.lost or 0)
  node.lost = 0
end

function Node:read_faults()
  local log = self.app:log()
  for line in log:gmatch("[^\n]+") do
    if line:find("judge fault", 1, true) or line:find("event=script_error", 1, true)
      or line:find("event=script_failed", 1, true) then
      if not self.seen[line] then self.judge:fault("node %d: %s", self.number, line) end
      self.seen[line] = true
    end
  end
end

---@param signal string
---@param away number? seconds until it starts again
function Node:restart(signal, away)
  self.is_up = false
  local old = self.app
  if signal == "sigterm" then self:read_lost() end
  old:signal(signal)
  local code = old.process:wait_exit()
  if signal == "sigterm" and code ~= 0 then
    self.judge:fault("node %d: SIGTERM ended it with %s:\n%s", self.number, tostring(code),
      old:log():sub(-2000))
  end
  end_node(self)
  loop.pass(away or 0)
  start_node(self)
  old:kill()
end

function Node:upgrade()
  local old = self.app
  self:read_lost()
  start_node(self, { "--upgrade" })
  local code = old.process:wait_exit()
  if code ~= 0 then
    self.judge:fault("node %d: an upgrade ended the old process with %s:\n%s", self.number,
      tostring(code), old:log():sub(-2000))
  end
  local new = self.app
  self.app = old
  end_node(self)
  self.app = new
  old:kill()
end

function Node:reload()
  process.replace_file(self.app.directory .. "/app.lua", APP .. "\n-- " .. math.random(1e9))
  self.app:signal("sighup")
end

---@param path string
---@return any
function Node:get(path)
  local response, problem = http.request(self.address, path)
  if not response then return nil, problem end
  if response.status ~= 200 then return nil, response.status .. " " .. response.body end
  return cjson.decode(response.body)
end

--- Does it say that the cluster is up?
---@return boolean
function Node:says_up()
  if not self.is_up or not self.app.admin then return false end
  if self.link:live() < 2 then return false end
  local response = http.request(self.app.admin, "/readyz")
  return response and response.status == 200
    and not response.body:find("cluster=down", 1, true) or false
end

--- Reads how many messages it says were lost or dropped.
function Node:read_lost()
  local response = http.request(self.app.admin, "/metrics")
  if not response then return end
  local lost = 0
  for name, value in response.body:gmatch("\ntidewire_cluster_(%l+)[%w_]*{?[^ \n]* ([%d.]+)") do
    if name == "lost" or name == "dropped" then
      lost, self.judge.has_figures = lost + tonumber(value), true
    end
  end
  self.lost = lost
end

-- ---- what players and faults ask ----

function Judge:any_player() return self.players[math.random(#self.players)] end

function Judge:any_node()
  local up = {}
  for _, node in ipairs(self.nodes) do
    if node.is_up and not node.is_in_fault then up[#up + 1] = node end
  end
  return up[math.random(#up)] or self.nodes[1]
end

-- A session stays on its machine half of the time. One that has begun on a node that could not ask
-- the others stays there until they can tell each other: docs/sessions.md.
function Judge:choose_node(who)
  local new_at, last = who.began_anew_at, self.nodes[who.last_node]
  if new_at and last and last.is_up and self.model:in_fault(new_at, new_at)
    and self.model:in_fault(loop.now(), math.huge) then
    return last
  end
  if who.kind.session and who.node and math.random(2) == 1 and self.nodes[who.node].is_up then
    return self.nodes[who.node]
  end
  local up = {}
  for _, node in ipairs(self.nodes) do if node.is_up then up[#up + 1] = node end end
  return up[math.random(#up)]
end

function Judge:wait_healed()
  local bad
  local healed = loop.wait_until(function()
    for _, node in ipairs(self.nodes) do
      if not node:says_up() then
        bad = node.number
        return false
      end
    end
    return true
  end, 60 * FACTOR)
  if not healed then
    self:fault("node %d does not say that the cluster is up; its log ends:\n%s", bad,
      self.nodes[bad].app:log():sub(-2000))
  end
end

--- The second Redis, as a replica that is in sync with the first.
function Judge:replica()
  self.other_redis = self.other_redis or redis_server.start()
  local replica = self.other_redis
  replica:command("REPLICAOF", "127.0.0.1", tostring(self.redis.port))
  loop.wait_until(function()
    return replica:command("INFO", "replication"):find("master_link_status:up", 1, true)
  end)
  return replica
end

function Judge:on_lost_session(who, at)
  self.sessions_lost = self.sessions_lost + 1
  who.began_anew_at = loop.now()
  local nodes = { [who.node] = true, [who.last_node or who.node] = true }
  if not self.model:in_fault(at - 1, loop.now(), nodes) then
    who:fault("the session was lost without a fault; it was on node %d, away for %.2f s",
      who.last_node or 0, loop.now() - at)
  end
end

function Judge:on_not_recovered(who, room, known, result)
  self.not_recovered = self.not_recovered + 1
  if room:find("^s") then return end
  if known.at > self.clean_since and not self.model:in_fault(known.at, loop.now()) then
    who:fault("%s says recovered=false without a fault (it knew %s %s): %s", room, known.epoch,
      known.offset, result)
  end
end

function Judge:on_failed(who, message, problem)
  self.failed = self.failed + 1
  if self.model:in_fault(message.sent, message.acked) then return end
  local other = message.to
  if other and problem == "closed" and (other.id ~= message.channel:sub(5)
    or other.line.state ~= "open" or not other.kind.session) then return end
  who:fault("%s says %s without a fault", message.channel, problem)
end

-- What tw.shared had before is not known any more.
function Judge:lossy_at()
  return self.model:in_fault(0, math.huge, nil, "is_lossy") and loop.now() or self.lossy_until
end

function Judge:on_number(who, value)
  self.incremented = self.incremented + 1
  if self.numbers[value] and self.numbers[value] > self:lossy_at() then
    who:fault("incr returned %d twice", value)
  end
  self.numbers[value] = loop.now()
end

function Judge:on_added(who, key)
  if self.added[key] and self.added[key] > self:lossy_at() then
    who:fault("add of %s succeeded twice", key)
  end
  self.added[key] = loop.now()
end

function Judge:on_number_failed(who, problem)
  self.failed = self.failed + 1
  local now = loop.now()
  if not self.model:in_fault(now - 10, now) then
    who:fault("tw.shared says without a fault: %s", problem)
  end
end

-- ---- the run ----

function Judge:progress()
  local open = 0
  for _, each in ipairs(self.players) do if each.line.state == "open" then open = open + 1 end end
  local m = self.model
  return ("%.0f s, round %d (%s): %d of %d clients, %d published, %d received, %d cuts, %d "
    .. "sessions resumed (%d moved, %d not), %d recovered (%d not), %d lost in faults, %d faults")
    :format(loop.now() - self.began, self.round, self.doing, open, #self.players, m.said, m.heard,
      self.cuts, self.resumed, self.moved, self.sessions_lost, self.recovered, self.not_recovered,
      m.lost, #self.faults)
end

local function start(self, f)
  self.busy = self.busy + 1
  tasks.start(function()
    f()
    self.busy = self.busy - 1
  end, function(text)
    self.busy = self.busy - 1
    self.failure = self.failure or text
  end)
end

local function are_settled(self)
  for _, each in ipairs(self.players) do if not each:is_settled() then return false end end
  return true
end

-- On each node one client says something in each room, so that holes are seen.
local function say_everywhere(self)
  for _, node in ipairs(self.nodes) do
    for _, each in ipairs(self.players) do
      if each.node == node.number then
        for _, room in ipairs(self.rooms) do each:say(room) end
        break
      end
    end
  end
end

-- What was published has come. Nothing new for some seconds: nothing will come.
local function wait_arrived(self)
  local heard, since = -1, loop.now()
  loop.wait_until(function()
    if self.model.heard ~= heard then heard, since = self.model.heard, loop.now() end
    if not are_settled(self) then return false end
    return (self.model:missing()) == 0 and loop.now() - since > 0.2
      or loop.now() - since > 6 * FACTOR
  end, 60 * FACTOR)
end

local function check_lost(self, countable)
  local counted = self.lost_counted
  for _, node in ipairs(self.nodes) do
    node:read_lost()
    counted = counted + node.lost
  end
  if self.has_figures and countable > 0 and counted - self.lost_before < countable then
    self:fault("%d messages were lost in faults, and the figures count %d:%s", countable,
      counted - self.lost_before, self.model:tell_countable())
  end
  self.lost_before = counted
end

local function checkpoint(self, ended_at)
  self.is_talking = false
  self.doing = self.doing .. ", judging"
  if not loop.wait_until(function() return are_settled(self) end, 60 * FACTOR) then
    for _, each in ipairs(self.players) do
      if not each:is_settled() then
        each:fault("not settled: %s, waits for %d answers, id %s", each.line.state, each.waiting,
          tostring(each.id))
      end
    end
  end
  if self.options.members then
    views.check_members(self, math.max(ended_at + MEMBERS_SECONDS, loop.now() + 1))
  end
  say_everywhere(self)
  wait_arrived(self)
  views.check_memories(self)
  local lost, countable = self.model:judge(loop.now())
  check_lost(self, countable)
  self.lost_last = lost
  for _, node in ipairs(self.nodes) do node:read_faults() end
end

local function round(self, number)
  local options = self.options
  self.round, self.is_talking = number, true
  local names = {}
  if number > 1 then
    for i = 1, math.random(3) == 1 and 2 or 1 do
      names[i] = options.faults[math.random(#options.faults)]
    end
    if names[1] == names[2] or names[2] and (names[1] .. names[2]):find("redis.*redis")
      or names[2] and (names[1] .. names[2]):find("failover") then names[2] = nil end
  else
    names[1] = "none"
  end
  self.doing = table.concat(names, " and ")
  local busy = 0
  for _, name in ipairs(names) do
    busy = busy + 1
    start(self, function()
      loop.pass(1 + math.random() * 3)
      faults[name](self)
      busy = busy - 1
    end)
  end
  loop.wait_until(function() return busy == 0 or self.failure end, 300 * FACTOR)
  local ended_at = loop.now()
  if self.model:in_fault(0, math.huge, nil, "is_lossy") then self.lossy_until = ended_at end
  loop.pass(1 + math.random() * 3)
  checkpoint(self, ended_at)
  -- Positions that clients have taken before a fault may be of another epoch.
  if self.doing ~= "none, judging" then self.clean_since = loop.now() end
  self.adds = self.adds + 10
end

--- One run. Throws where a server does not start or end as it should.
---@param options cluster.options
---@return cluster.judge
function judge.run(options)
  local self = setmetatable({
    options = options, rooms = options.rooms, say = options.say, tell = options.tell,
    players = {}, nodes = {},
    faults = {}, rounds = {}, by_id = {}, users = {}, ends = {}, numbers = {}, added = {}, adds = 0,
    busy = 0, round = 0, doing = "start", cuts = 0, resumed = 0, moved = 0, sessions_lost = 0,
    recovered = 0, not_recovered = 0, failed = 0, incremented = 0, lost_counted = 0,
    lost_before = 0, clean_since = 0,
    members_seconds = 0, act_seconds = options.act_seconds, began = loop.now(), lossy_until = 0,
  }, Judge)
  self.model = model.new(function(...) self:fault(...) end)
  self.model.began = self.began
  local _ <close> = setmetatable({}, { __close = function()
    stream.close_all()
    for _, node in ipairs(self.nodes) do
      if node.app then
        if options.keep then self.say(("node %d: %s"):format(node.number, node.app.directory)) end
        node.app:signal("sigcont")
        node.app:kill()
      end
      node.link:stop()
      process.remove_directory(node.folder)
    end
    if self.redis then self.redis:stop() end
    if self.other_redis then self.other_redis:stop() end
  end })
  math.randomseed(options.seed)
  self.redis = redis_server.start()
  for number = 1, options.nodes do
    local node = setmetatable({
      judge = self, number = number, folder = process.make_directory(), seen = {},
      link = link.start({ host = "127.0.0.1", port = self.redis.port }), lost = 0,
    }, Node)
    self.nodes[number] = node
    start_node(node)
  end
  for i = 1, options.clients do
    self.players[i] = player.new(self, i)
    self.users[self.players[i].user] = true
  end

  local is_over
  start(self, function()
    self:wait_healed()
    local number = 0
    repeat
      number = number + 1
      local before, at = #self.faults, loop.now()
      round(self, number)
      self.rounds[#self.rounds + 1] = ("round %d, %.0f s: %s: %s; %d lost, members after %.1f s")
        :format(number, loop.now() - at, self.doing, #self.faults == before and "good"
          or #self.faults - before .. " faults", self.lost_last, self.members_last or 0)
      if options.verbose then self.say(self.rounds[#self.rounds]) end
    until loop.now() - self.began > options.seconds or self.failure or #self.faults > 100
    is_over = true
  end)
  local told_at = 0
  tasks.run_until(function()
    for _, each in ipairs(self.players) do
      local good, problem = xpcall(each.step, debug.traceback, each, self.is_talking)
      if not good then
        self:fault("%s: %s", each.tag, problem)
        return true
      end
    end
    if loop.now() - told_at > options.tell_seconds then
      told_at = loop.now()
      self.tell(self:progress())
    end
    return is_over or self.failure
  end, math.huge)
  if self.failure then error(self.failure, 0) end
  self.tell(self:progress())
  for _, each in ipairs(self.players) do each.line:leave("fin") end
  for i = #self.nodes, 1, -1 do
    local node = self.nodes[i]
    local good, problem = pcall(node.app.stop, node.app)
    if not good then self:fault("node %d: %s", node.number, problem) end
    node.app = nil
  end
  return self
end

return judge
