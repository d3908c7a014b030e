-- faults.lua -- what may happen to a cluster: to nodes, to Redis, and between them.
--
-- Each fault runs within a task, and tells the model its window: from when to when, which nodes it
-- concerns (none told: all), and whether messages of rooms without a memory may be lost in it
-- (`loses`), Redis forgets (`is_lossy`), or the nodes do (`kills`). A fault ends when all nodes say
-- that the cluster is up again.

local loop = require "support.loop"

local faults = {}

local random = math.random

local function between(least, most) return least + random() * (most - least) end

local function run(judge, window, f)
  judge.model:begin(window, loop.now())
  f()
  judge:wait_healed()
  window.to = loop.now()
end

local function of_node(judge, name, f, more)
  local node = judge:any_node()
  local window = { name = ("%s of node %d"):format(name, node.number),
    nodes = { [node.number] = true } }
  for key, value in pairs(more or {}) do window[key] = value end
  node.is_in_fault = true
  run(judge, window, function() f(node) end)
  node.is_in_fault = nil
end

local function of_all(judge, name, f, more)
  local window = { name = name, loses = true }
  for key, value in pairs(more or {}) do window[key] = value end
  run(judge, window, f)
end

-- ---- nodes ----

function faults.term(judge)
  of_node(judge, "term", function(node) node:restart("sigterm") end, { ends = true })
end

function faults.kill(judge)
  of_node(judge, "kill", function(node)
    node:restart("sigkill", random(2) == 1 and between(0, 14) or 0)
  end, { loses = true, kills = true, ends = true })
end

-- SIGSTOP: a machine that hangs; after ten seconds the others take it for dead.
function faults.stop(judge)
  of_node(judge, "stop", function(node)
    node.is_up = false
    node.app:signal("sigstop")
    loop.pass(random(2) == 1 and between(0.2, 4) or between(11, 16))
    node.app:signal("sigcont")
    node.is_up = true
  end, { loses = true })
end

function faults.reload(judge)
  of_node(judge, "reload", function(node) node:reload() end)
end

function faults.upgrade(judge)
  of_node(judge, "upgrade", function(node) node:upgrade() end, { ends = true })
end

-- ---- Redis ----

-- It has what it had: its append-only file.
faults["redis-kill"] = function(judge)
  of_all(judge, "redis-kill", function()
    judge.redis:kill()
    loop.pass(random(2) == 1 and 0 or between(0, 8))
    judge.redis:start()
  end)
end

faults["redis-restart"] = function(judge)
  of_all(judge, "redis-restart", function()
    judge.redis:shut_down()
    loop.pass(between(0, 2))
    judge.redis:start()
  end)
end

-- It has forgotten everything.
faults["redis-loss"] = function(judge)
  of_all(judge, "redis-loss", function()
    judge.redis:kill()
    os.execute("rm -rf '" .. judge.redis.folder .. "/appendonlydir'")
    loop.pass(random(2) == 1 and 0 or between(0, 8))
    judge.redis:start()
  end, { is_lossy = true })
end

faults["redis-stop"] = function(judge)
  of_all(judge, "redis-stop", function()
    judge.redis:pause()
    loop.pass(random(2) == 1 and between(0.2, 2) or between(2, 12))
    judge.redis:continue()
  end)
end

faults.flushall = function(judge)
  of_all(judge, "flushall", function() judge.redis:command("FLUSHALL") end, { is_lossy = true })
end

faults["client-kill"] = function(judge)
  of_all(judge, "client-kill", function()
    judge.redis:command("CLIENT", "KILL", "TYPE", random(2) == 1 and "normal" or "pubsub")
    loop.pass(1)
  end)
end

-- A replica that lacks the last second is promoted. Until then the nodes reach it as a replica.
faults.failover = function(judge)
  of_all(judge, "failover", function()
    local replica = judge:replica()
    replica:pause()
    loop.pass(1)
    judge.redis:kill()
    replica:continue()
    for _, node in ipairs(judge.nodes) do
      node.link.target.port = replica.port
      node.link:cut("reset")
    end
    loop.pass(between(0, 2))
    replica:command("REPLICAOF", "NO", "ONE")
    local old = judge.redis
    judge.redis, judge.other_redis = replica, old
    os.execute("rm -rf '" .. old.folder .. "/appendonlydir'")
    old:start()
  end, { is_lossy = true })
end

-- ---- between a node and Redis ----

-- Connections end; new ones are possible at once, or after some time.
function faults.cut(judge)
  of_node(judge, "cut", function(node)
    node.link:cut(random(2) == 1 and "reset" or "fin")
    if random(2) == 1 then
      node.link:switch(false)
      loop.pass(between(0, 8))
      node.link:switch(true)
      node.link:cut("reset")
    end
    loop.pass(0.5)
  end, { loses = true })
end

-- Nothing passes, and nobody hears of it; what comes later is another connection.
function faults.silence(judge)
  of_node(judge, "silence", function(node)
    node.link:switch(false)
    loop.pass(between(1, 14))
    node.link:switch(true)
  end, { loses = true })
end

-- Nothing passes for some time; then everything does.
function faults.freeze(judge)
  of_node(judge, "freeze", function(node)
    node.link:hold(true)
    loop.pass(random(2) == 1 and between(0.2, 3) or between(3, 14))
    node.link:hold(false)
    loop.pass(1)
  end, { loses = true })
end

-- Not a fault: nothing may be lost.
function faults.delay(judge)
  of_node(judge, "delay", function(node)
    node.link.delay_ms = random(5, 300)
    loop.pass(between(1, 6))
    node.link.delay_ms = 0
    loop.pass(0.5)
  end)
end

-- Nothing.
function faults.none() end

faults.names = {}
for name, value in pairs(faults) do
  if type(value) == "function" then table.insert(faults.names, name) end
end
table.sort(faults.names)

return faults
