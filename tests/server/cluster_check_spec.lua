-- cluster_check_spec.lua -- `tidewire cluster check`: what it finds at real Redis servers.

local fake_redis = require "support.fake_redis"
local loop = require "support.loop"
local process = require "support.process"
local redis_server = require "support.redis"
local server = require "support.server"
local cjson = require "cjson"

if redis_server.missing() then
  print("nothing of this is tried here: " .. redis_server.missing())
  return
end

--- Runs it with these words.
local function check(...)
  return process.run(server.binary(), { args = { "cluster", "check", ... } })
end

--- Runs it with --json. Returns the report on the first server, and the exit code.
local function report(...)
  local result = check("--json", ...)
  local all = cjson.decode(result.stdout)
  assert.equal(all.ok, result.code == 0)
  return all.servers[1], result.code
end

local function has(list, text)
  for _, line in ipairs(list) do
    if line:find(text, 1, true) then return true end
  end
  return false
end

describe("tidewire cluster check", function()
  local redis

  lazy_setup(function()
    redis = redis_server.start { args = { "--maxmemory", "100mb" } }
  end)
  lazy_teardown(function() redis:stop() end)

  it("finds no problem with a server as it comes", function()
    local result = check(redis.url, "redis+unix://" .. redis.path)
    assert.equal(1, result.code) -- the same one twice
    assert.matches("it is the same server as redis://127.0.0.1:" .. redis.port, result.stdout, 1,
      true)
    result = check(redis.url)
    assert.equal(0, result.code)
    assert.matches("  ok       %u%l+ %d+%.%d+%.%d+\n", result.stdout)
    assert.matches("  ok       a master, with 0 replicas\n", result.stdout, 1, true)
    assert.matches("PING: [%d.]+ ms", result.stdout)
    assert.matches("SPUBLISH until a subscriber has it: [%d.]+ ms", result.stdout)
    assert.matches("no problem was found\n$", result.stdout)
    assert.equal("", result.stderr)
  end)

  it("prints JSON", function()
    local one, code = report(redis.url)
    assert.equal(0, code)
    assert.same({ true, "master", redis.url, {} }, { one.ok, one.role, one.url, one.problems })
    local info = redis:command("INFO", "server")
    assert.equal(one.kind, info:match("server_name:(%l+)") or "redis")
    assert.equal(one.version, info:match(one.kind .. "_version:(%C+)"))
    assert.equal(40, #one.run_id)
    for _, latency in ipairs(one.latencies) do
      assert.is_true(latency.median_ms > 0 and latency.p99_ms >= latency.median_ms)
    end
  end)

  it("judges the settings", function()
    local cases = {
      { "maxmemory-policy", "allkeys-lru", "noeviction", "problems", "maxmemory-policy allkeys" },
      { "maxmemory-policy", "volatile-ttl", "noeviction", "warnings", "maxmemory-policy volatile" },
      { "maxmemory", "0", "100mb", "warnings", "maxmemory is not set" },
      { "maxmemory", "1", "100mb", "problems", "its memory is nearly full" },
      { "client-output-buffer-limit", "pubsub 1mb 1mb 60", "pubsub 32mb 8mb 60", "warnings",
        "client-output-buffer-limit pubsub 1048576" },
      { "client-output-buffer-limit", "pubsub 0 0 0", "pubsub 32mb 8mb 60", "warnings",
        "has no limit" },
      { "client-output-buffer-limit", "normal 1mb 0 0", "normal 0 0 0", "warnings",
        "client-output-buffer-limit normal" },
      { "timeout", "1", "0", "warnings", "timeout 1" },
    }
    for _, case in ipairs(cases) do
      local name, bad, good, list, text = table.unpack(case)
      assert.equal("OK", redis:command("CONFIG", "SET", name, bad))
      local one = report(redis.url)
      assert.equal("OK", redis:command("CONFIG", "SET", name, good))
      assert.is_true(has(one[list], text), text .. "\n" .. cjson.encode(one))
    end
    redis:command("REPLICAOF", "127.0.0.1", "1")
    local one = report(redis.url)
    redis:command("REPLICAOF", "NO", "ONE")
    assert.is_true(has(one.problems, "it is a replica of 127.0.0.1:1: name the master"))
    assert.equal("slave", one.role)
  end)

  it("says which rights a user lacks, and how to give them", function()
    redis:command("ACL", "SETUSER", "poor", "on", ">pw", "~tw:*", "&tw:*", "-@all", "+ping",
      "+info", "+set", "+time", "+script|load", "+evalsha", "+ssubscribe", "+spublish")
    local url = redis.url:gsub("//", "//poor:pw@")
    local one, code = report(url)
    assert.equal(1, code)
    local command = table.concat(one.problems, "\n"):match("(ACL SETUSER poor [%l +|]+)")
    assert.is_truthy(command, cjson.encode(one))
    assert.is_truthy(command:find("+pubsub|shardnumsub", 1, true), command)
    assert.is_true(has(one.notes, "CONFIG GET"))
    local words = {}
    for word in command:gmatch("%S+") do table.insert(words, word) end
    assert.equal("OK", redis:command(table.unpack(words)))
    one, code = report(url)
    assert.equal(0, code, cjson.encode(one))
    -- keys and channels of another prefix
    one, code = report("--prefix", "other", url)
    assert.equal(1, code)
    assert.is_true(has(one.problems, "the user may not do this"), cjson.encode(one))
    assert.is_false(has(one.problems, "pw"))
  end)

  it("says why there is no connection", function()
    redis:pause()
    local frozen = check(redis.url .. "?socket_timeout=0.2")
    redis:continue()
    assert.equal(1, frozen.code)
    assert.matches("PROBLEM  it has answered nothing for 0.2 s", frozen.stdout, 1, true)
    local refused = check("redis://127.0.0.1:1", redis.url)
    assert.equal(1, refused.code)
    assert.matches("PROBLEM  connection refused", refused.stdout, 1, true)
    assert.matches("PING: ", refused.stdout, 1, true) -- the other one
    local unwanted = check((redis.url:gsub("//", "//:secret@")))
    assert.matches("it has no password: take it out of the URL", unwanted.stdout, 1, true)
    assert.falsy((unwanted.stdout .. unwanted.stderr):find("secret", 1, true))
  end)

  it("takes the URLs of the environment", function()
    local result = process.run(server.binary(), { args = { "cluster", "check" },
      environment = { TIDEWIRE_CLUSTER = redis.url } })
    assert.equal(0, result.code)
    local none = check()
    assert.same({ 2, "" }, { none.code, none.stdout })
    assert.matches("cluster check needs a URL", none.stderr, 1, true)
  end)

  it("refuses what is no URL, without its password", function()
    local result = check(redis.url, "redis://u:secret@h:x")
    assert.equal(2, result.code)
    assert.matches("URL 2: the port must be a number", result.stderr, 1, true)
    assert.falsy(result.stderr:find("secret", 1, true))
  end)

  it("is not harmed by a server that answers nonsense", function()
    for _, answer in ipairs({ "+\27[31m\255\r\n", "*2\r\n:1\r\n$-1\r\n", "-ERR \"\\\r\n", ":7\r\n",
      "*0\r\n", "x" }) do
      local fake <close> = fake_redis.start(function(words)
        return words[1] ~= "PING" and words[1] ~= "CLIENT" and answer or nil
      end)
      local folder = process.make_directory()
      local child = process.start(server.binary(), { stdout = folder .. "/out",
        args = { "cluster", "check", "--json", fake.url .. "?socket_timeout=0.2" } })
      assert(loop.wait_until(function() return child.exit_code end))
      local out = process.read_file(folder .. "/out")
      process.remove_directory(folder)
      assert.same({ 1, false }, { child.exit_code, cjson.decode(out).ok }, answer)
      assert.falsy(out:find("\27", 1, true))
    end
  end)
end)
