-- cluster_redis_spec.lua -- the connections to Redis as a node sees them: up, down, answers,
-- subscriptions; and each way in which a Redis can fail.

local certificates = require "support.certificates"
local fake_redis = require "support.fake_redis"
local loop = require "support.loop"
local redis_driver = require "support.redis_driver"
local redis_server = require "support.redis"

if redis_server.missing() then
  print("nothing of this is tried here: " .. redis_server.missing())
  return
end

local UP = "^up 0 (%w+) %l+"

--- Starts a driver for the URL, which comes up.
local function connected(url)
  local driver = redis_driver.start(url)
  driver:wait(UP)
  return driver
end

describe("a connection to Redis", function()
  local redis

  lazy_setup(function() redis = redis_server.start() end)
  lazy_teardown(function() redis:stop() end)

  it("carries commands, answers, subscriptions and messages", function()
    local driver <close> = redis_driver.start(redis.url)
    assert.equal("new", driver:wait("^up 0 (%w+) %l+ %d+%.%d+%.%d+ 1$"))
    driver:say("command 0 SET a 1")
    driver:wait("^reply OK$")
    driver:say("command 0 LPUSH a 1")
    driver:wait("^reply WRONGTYPE")
    driver:say("subscribe 0 tw:{1}:c:x")
    driver:wait("^subscribed 0 tw:{1}:c:x$")
    driver:say("command 0 SPUBLISH tw:{1}:c:x hello")
    driver:wait("^message 0 tw:{1}:c:x hello$")
    assert(loop.wait_until(function() return driver:count("^reply 1$") == 1 end))
    driver:say("unsubscribe 0 tw:{1}:c:x")
    driver:say("command 0 PING")
    driver:wait("^reply PONG$")
    assert.equal("0", loop.ask_until(function()
      return redis:command("PUBSUB", "SHARDNUMSUB", "tw:{1}:c:x"):match("(%d+)$")
    end, "0"))
    driver:say("figures 0")
    driver:wait("^figures 0 up=1 channels=0 connects=1 queued=0")
  end)

  it("answers in the order of the commands, however many wait", function()
    local driver <close> = connected(redis.url)
    driver:say("flood 0 100000")
    driver:wait("^flood in order lost=0$")
  end)

  it("subscribes thousands of channels, and each wish counts", function()
    local driver <close> = redis_driver.start(redis.url)
    for i = 1, 3000 do driver:say(("subscribe 0 tw:{%d}:c:%d"):format(i % 128, i)) end
    for i = 1, 3000, 2 do driver:say(("unsubscribe 0 tw:{%d}:c:%d"):format(i % 128, i)) end
    driver:wait(UP)
    for i = 1, 3000, 4 do
      driver:say(("subscribe 0 tw:{%d}:c:%d"):format(i % 128, i))
      driver:say(("unsubscribe 0 tw:{%d}:c:%d"):format(i % 128, i))
      driver:say(("subscribe 0 tw:{%d}:c:%d"):format(i % 128, i))
    end
    driver:wait("^subscribed 0 tw:{53}:c:2997$")
    driver:say("figures 0")
    driver:wait("^figures 0 up=1 channels=2250 ")
    assert.equal("2250", loop.ask_until(function()
      local _, count = redis:command("PUBSUB", "SHARDCHANNELS"):gsub("tw:", "")
      return tostring(count)
    end, "2250"))
    driver:say("command 0 SPUBLISH tw:{53}:c:2997 x")
    driver:wait("^message 0 tw:{53}:c:2997 x$")
  end)

  it("comes back after a kill of Redis, with its subscriptions", function()
    local driver <close> = connected(redis.url)
    driver:say("subscribe 0 tw:{1}:c:x")
    driver:wait("^subscribed 0 tw:{1}:c:x$")
    redis:kill()
    driver:wait("^down 0 it has closed the connection")
    driver:say("command 0 PING")
    driver:wait("^reply lost$")
    driver:say("subscribe 0 tw:{2}:c:y")
    redis:start()
    driver:wait("^subscribed 0 tw:{2}:c:y$")
    assert.equal("new", driver:wait(UP))
    driver:say("command 0 SPUBLISH tw:{1}:c:x again")
    driver:wait("^message 0 tw:{1}:c:x again$")
    assert.equal(1, driver:count("^down"))
  end)

  it("knows the same life of Redis after a lost connection", function()
    local driver <close> = connected(redis.url)
    driver:say("command 0 CLIENT KILL TYPE normal SKIPME no")
    driver:wait("^down 0 it has closed the connection")
    assert.equal("same", driver:wait(UP))
    driver:say("command 0 CLIENT KILL TYPE pubsub SKIPME no")
    driver:wait("^reply 0$") -- its connection has no channel yet, so it is none of these
    driver:say("subscribe 0 tw:{1}:c:x")
    driver:wait("^subscribed")
    driver:say("command 0 CLIENT KILL TYPE pubsub SKIPME no")
    driver:wait("^down 0 it has closed the connection; was this machine too slow")
    assert.equal("same", driver:wait(UP))
  end)

  it("counts a frozen Redis as away, and heals", function()
    local driver <close> = connected(redis.url .. "?socket_timeout=0.2")
    redis:pause()
    driver:wait("^down 0 it has answered nothing for 0.2 s")
    driver:say("command 0 PING")
    driver:wait("^reply lost$")
    redis:continue()
    assert.equal("same", driver:wait(UP))
  end)

  it("is not away because this machine was stopped", function()
    local driver <close> = connected(redis.url .. "?socket_timeout=0.1")
    driver:pause()
    loop.pass(0.4) -- longer than Redis may be silent
    driver:continue()
    driver:say("command 0 ECHO alive")
    driver:wait("^reply alive$")
    assert.equal(0, driver:count("^down"))
  end)

  it("is cut off when it is too slow for its messages, and comes back", function()
    redis:command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 64kb 64kb 0")
    local driver <close> = connected(redis.url)
    driver:say("subscribe 0 tw:{1}:c:slow")
    driver:wait("^subscribed")
    driver:pause()
    local sent = 0
    repeat -- until the sockets are full and Redis has lost its patience
      redis:command("EVAL", "for i = 1, 50 do "
        .. "redis.call('SPUBLISH', 'tw:{1}:c:slow', ('x'):rep(20000)) end", "0")
      sent = sent + 1
    until redis:command("PUBSUB", "SHARDNUMSUB", "tw:{1}:c:slow"):find("0$") or sent == 500
    driver:continue()
    driver:wait("^down 0 it has .* the connection; was this machine too slow")
    assert.equal("same", driver:wait(UP))
    redis:command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")
  end)

  it("tries each address of a name", function()
    local driver <close> = connected((redis.url:gsub("127.0.0.1", "localhost")))
    driver:say("command 0 PING")
    driver:wait("^reply PONG$")
  end)

  it("says that the memory is full, until it is not", function()
    local driver <close> = connected(redis.url)
    redis:command("CONFIG", "SET", "maxmemory", "1")
    driver:say("command 0 SET a 1")
    driver:wait("^down 0 its memory is full: raise maxmemory")
    driver:wait("^reply lost$")
    redis:command("CONFIG", "SET", "maxmemory", "0")
    assert.equal("same", driver:wait(UP))
  end)

  it("notices that its master has become a replica", function()
    local driver <close> = connected(redis.url)
    redis:command("REPLICAOF", "127.0.0.1", "1")
    driver:wait("^down 0 it is a replica of 127.0.0.1:1: name the master in the URL$")
    redis:command("REPLICAOF", "NO", "ONE")
    assert.equal("new", driver:wait(UP)) -- another history of writes
  end)

  it("goes through a Unix socket, into a database", function()
    local driver <close> = connected("redis+unix://" .. redis.path .. "?db=3")
    driver:say("command 0 SET in-three 1")
    driver:wait("^reply OK$")
    assert.equal("1", redis:command("-n", "3", "EXISTS", "in-three"))
    assert.matches("name=driver .*db=3", redis:command("CLIENT", "LIST"))
    local other <close> = redis_driver.start("unix:" .. redis.folder .. "/none.sock")
    other:wait("^down 0 there is no such socket")
    local high <close> = redis_driver.start(redis.url .. "/99")
    high:wait("^down 0 the database in the URL does not exist")
  end)

  it("goes to several servers", function()
    local second <close> = redis_server.start()
    local driver <close> = redis_driver.start(redis.url, second.url)
    assert(loop.wait_until(function() return driver:count("^up") == 2 end))
    driver:say("command 1 SET only-here 1")
    driver:wait("^reply OK$")
    assert.equal("0", redis:command("EXISTS", "only-here"))
    second:kill()
    driver:wait("^down 1 ")
    driver:say("command 0 PING")
    driver:wait("^reply PONG$")
  end)
end)

describe("Redis with passwords", function()
  local redis

  lazy_setup(function()
    redis = redis_server.start { args = { "--requirepass", "sec/ret" }, cli = { "-a", "sec/ret" } }
    redis:command("ACL", "SETUSER", "node", "on", ">pass word", "~tw:*", "&tw:*", "+@all")
    redis:command("ACL", "SETUSER", "poor", "on", ">pw", "~other:*", "+@all")
  end)
  lazy_teardown(function() redis:stop() end)

  local function url(user)
    return (redis.url:gsub("//", "//" .. user:gsub("%%", "%%%%") .. "@"))
  end

  it("lets in whoever has the password, or a user", function()
    for _, user in ipairs { ":sec%2Fret", "default:sec%2Fret", "node:pass%20word" } do
      connected(url(user)):stop()
    end
  end)

  it("says what is wrong with the others, without the password", function()
    local cases = {
      [redis.url] = "it needs a password: redis://:PASSWORD@host",
      [url ":wrong"] = "the user or the password in the URL is wrong",
      [url "nobody:wrong"] = "the user or the password in the URL is wrong",
      [url "poor:pw"] = "the user may not do this: docs/cluster.md has the ACL rules",
    }
    for text, why in pairs(cases) do
      local driver <close> = redis_driver.start(text)
      local line = driver:wait("^down 0 .*")
      assert.truthy(line:find(why, 1, true), line)
      assert.falsy(line:find("wrong@", 1, true) or line:find(":pw", 1, true), line)
    end
  end)

  it("notices that its rights were taken away", function()
    local driver <close> = connected(url "node:pass%20word")
    redis:command("ACL", "SETUSER", "node", "resetkeys", "~none")
    driver:say("command 0 GET tw:x")
    driver:wait("^down 0 the user may not do this")
    redis:command("ACL", "SETUSER", "node", "~tw:*")
    driver:wait(UP)
    redis:command("ACL", "SETUSER", "node", ">new")
    redis:command("ACL", "DELUSER", "node")
    driver:wait("^down 0 ")
  end)
end)

it("says that no password is wanted", function()
  local redis <close> = redis_server.start()
  local driver <close> = redis_driver.start((redis.url:gsub("//", "//:secret@")))
  assert.falsy(driver:wait("^down 0 (it has no password: take it out of the URL.*)"):find("secret"))
end)

describe("Redis over TLS", function()
  local redis, file

  lazy_setup(function()
    local key
    file, key = certificates.shared()
    redis = redis_server.start { certificate = { certificate = file, key = key } }
  end)
  lazy_teardown(function() redis:stop() end)

  it("is as good as without", function()
    local driver <close> = connected(redis.url .. "?ssl_ca_certs=" .. file)
    driver:say("subscribe 0 tw:{1}:c:x")
    driver:wait("^subscribed")
    driver:say("command 0 SPUBLISH tw:{1}:c:x " .. ("x"):rep(60000))
    driver:wait("^message 0 tw:{1}:c:x x+$")
    driver:say("flood 0 20000")
    driver:wait("^flood in order lost=0$")
    redis:kill()
    driver:wait("^down 0 ")
    redis:start()
    driver:wait(UP)
  end)

  it("is not trusted without its authority, unless it need not be", function()
    local driver <close> = redis_driver.start(redis.url)
    driver:wait("^down 0 .*certificate")
    connected(redis.url .. "?ssl_cert_reqs=none"):stop()
    local plain <close> = redis_driver.start((redis.url:gsub("^rediss", "redis")))
    plain:wait("^down 0 .*does it expect TLS %(rediss://%)%?$")
  end)
end)

it("waits while Redis loads its data", function()
  local redis <close> = redis_server.start {
    args = { "--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024" },
  }
  local driver <close> = connected(redis.url)
  redis:command("EVAL", "for i = 1, 500 do redis.call('SET', 'k' .. i, ('x'):rep(100)) end", "0")
  redis:kill()
  driver:wait("^down 0 ")
  redis:start()
  driver:wait(UP)
  driver:say("command 0 EXISTS k500")
  driver:wait("^reply 1$")
end)

describe("a server that is not what it should be", function()
  --- What the driver says of it at first.
  local function told(answer)
    local fake <close> = fake_redis.start(answer)
    local driver <close> = redis_driver.start(fake.url)
    return driver:wait("^down 0 (.*)")
  end

  --- A healthy one but for one command.
  local function but(name, bytes)
    return function(words)
      if words[1] == name then return bytes end
    end
  end

  it("is a healthy one to begin with", function()
    local fake <close> = fake_redis.start(function() end)
    local driver <close> = redis_driver.start(fake.url)
    driver:say("subscribe 0 tw:{1}:c:x")
    driver:wait(UP)
  end)

  it("is named with what to do", function()
    local old = "redis_version:6.2.7\r\nrun_id:1\r\n"
    local cases = {
      ["it is version 6.2.7: Redis or Valkey 7.0 or later"] =
        but("INFO", ("$%d\r\n%s\r\n"):format(#old, old)),
      ["is loading its data"] = but("SET", "-LOADING Redis is loading the dataset in memory\r\n"),
      ["it is a replica: name the master"] = but("SET", "-READONLY You can't write\r\n"),
      ["without its master"] = but("SET", "-MASTERDOWN Link with MASTER is down\r\n"),
      ["cannot save its data"] = but("SET", "-MISCONF Redis is configured to save\r\n"),
      ["min-replicas-to-write"] = but("SET", "-NOREPLICAS Not enough good replicas\r\n"),
      ["cluster-enabled no"] = but("SET", "-MOVED 1234 10.0.0.1:6379\r\n"),
      ["Redis Cluster is down"] = but("SET", "-CLUSTERDOWN Hash slot not served\r\n"),
      ["raise maxclients"] = but("INFO", "-ERR max number of clients reached\r\n"),
      ["protected mode"] = but("INFO", "-DENIED Redis is running in protected mode\r\n"),
      ["it refuses SET: ERR odd"] = but("SET", "-ERR odd\r\n"),
      ["is it Redis?"] = function() return "HTTP/1.1 400 Bad Request\r\n\r\n" end,
      ["that was not sent"] = but("PING", ""),
      ["it has closed the connection"] = but("TIME", false),
      ["its address leads to several servers"] = function(words, number)
        local info = "redis_version:7.0.0\r\nrole:master\r\nrun_id:" .. number .. "\r\n"
        if words[1] == "INFO" then return ("$%d\r\n%s\r\n"):format(#info, info) end
      end,
    }
    cases["that was not sent"] = function(words)
      if words[1] == "TIME" then return fake_redis.healthy(words) .. "+one more\r\n" end
    end
    for why, answer in pairs(cases) do
      local line = told(answer)
      assert.truthy(line:find(why, 1, true), ("%q instead of %q"):format(line, why))
    end
  end)

  it("loads its scripts again when they were removed, and keeps the order", function()
    local seen, refused = {}, 0
    local fake <close> = fake_redis.start(function(words)
      local name = words[1]
      if name == "SCRIPT" then table.insert(seen, "load") end
      if name ~= "EVALSHA" and name ~= "ECHO" then return end
      table.insert(seen, words[#words])
      if name == "EVALSHA" and refused < 3 then
        refused = refused + 1
        return "-NOSCRIPT No matching script. Please use EVAL.\r\n"
      end
      return "+" .. words[#words] .. "\r\n"
    end)
    local driver <close> = connected(fake.url)
    local loads = #seen
    for _, word in ipairs { "a", "b" } do driver:say("command 0 EVALSHA sha 1 key " .. word) end
    driver:say("command 0 ECHO c")
    driver:say("command 0 EVALSHA sha 1 key d")
    driver:say("command 0 ECHO e")
    for _, word in ipairs { "c", "e", "a", "b", "d" } do driver:wait("^reply " .. word .. "$") end
    assert.equal(0, driver:count("^down"))
    local order = table.concat(seen, " ", loads + 1)
    assert.equal("a b c d e " .. ("load "):rep(loads) .. "a b d", order)
    -- one that Redis does not know for good is an answer
    refused = -100
    driver:say("command 0 EVALSHA sha 1 key x")
    driver:wait("^reply NOSCRIPT")
  end)

  it("costs no memory to speak of with what it sends", function()
    for _, bytes in ipairs {
      "*2147483647\r\n", "$268435457\r\n", ("*1\r\n"):rep(1000), "*1000000000\r\n:1\r\n",
      "*3\r\n$10\r\nssubscribe\r\n:1\r\n:1\r\n", "*3\r\n$8\r\nsmessage\r\n$-1\r\n$-1\r\n",
      "*1\r\n$12\r\nsunsubscribe\r\n", "*0\r\n", "$-1\r\n", "*-1\r\n", ":1\r\n", "+\r\n", "-\r\n",
    } do
      local fake <close> = fake_redis.start(function(words)
        if words[1] == "INFO" or words[1] == "TIME" then return bytes end
      end)
      local driver <close> = redis_driver.start(fake.url .. "?socket_timeout=0.2")
      driver:wait("^down 0 ")
    end
  end)

  it("is away while it answers nothing, or cannot be reached", function()
    local fake <close> = fake_redis.start(function() return "" end)
    local driver <close> = redis_driver.start(fake.url .. "?socket_timeout=0.2")
    driver:wait("^down 0 it has answered nothing for 0.2 s")
    local tls <close> = redis_driver.start((fake.url:gsub("^redis", "rediss"))
      .. "?socket_connect_timeout=0.2")
    tls:wait("^down 0 .*handshake")
    local refused <close> = redis_driver.start("redis://127.0.0.1:1")
    refused:wait("^down 0 connection refused: is it running")
    local unknown <close> = redis_driver.start("redis://no-such-host.invalid")
    unknown:wait("^down 0 its host cannot be resolved")
  end)
end)
