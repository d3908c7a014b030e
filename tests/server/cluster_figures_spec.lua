-- cluster_figures_spec.lua -- what the admin address, tw.stats() and the log say of a cluster,
-- while Redis is there and while it is away.

local cjson = require "cjson"

local cluster = require "support.cluster"
local http = require "support.http"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local tw = require "tidewire"
return {
  endpoints = { ["/"] = {
    ping_period = 0,
    on_start = function(conn) conn:join("hall") conn:send("in") end,
    handle_message = function(_, text) tw.room("hall"):broadcast(text) end,
  } },
  http = { ["/figures"] = function() return tw.json.encode(tw.stats()) end },
}
]]

local PASSWORD = "s3cret-that-nobody-reads"

local missing = cluster.missing()
if missing then
  return it("figures of a cluster", function() pending(missing) end)
end

describe("a machine of a cluster", function()
  local group

  setup(function()
    group = cluster.start({ app = APP, options = { "--admin", "127.0.0.1:0" } })
  end)
  teardown(function() group:stop() end)
  after_each(stream.close_all)

  local function get(one, path) return assert(http.request(one.admin, { path = path })) end
  local function ready(one) return (get(one, "/readyz").body:gsub("\n$", "")) end
  local function stats(one) return cjson.decode(get(one, "/stats").body) end
  local function metric(one, name)
    return tonumber(get(one, "/metrics").body:match("\ntidewire_cluster_" .. name .. " (%S+)"))
  end

  it("says so, and counts what goes to others and comes from them", function()
    for _, one in ipairs(group) do
      assert.same({ 200, "ready cluster=up" },
        { get(one, "/readyz").status, ready(one) })
    end
    local ada, bob = group[1]:connect("/"), group[2]:connect("/")
    ada:receive()
    bob:receive()
    for i = 1, 3 do
      ada:send_text("hello " .. i)
      assert.equal("hello " .. i, (bob:receive()))
    end
    assert.is_truthy(loop.wait_until(function()
      return stats(group[1]).cluster_published >= 3 and stats(group[2]).cluster_received >= 3
    end))
    local figures = stats(group[1])
    assert.equal("up", figures.cluster)
    assert.equal(1, #figures.cluster_servers)
    local redis = figures.cluster_servers[1]
    assert.same({ group.redis.url, 1, 1 }, { redis.server, redis.up, redis.connects })
    assert.matches("^%d+%.%d+%.%d+$", redis.version)
    assert.is_true(redis.subscriptions > 0)
    assert.equal(1, metric(group[1], ('server_up{server="%s"}'):format(group.redis.url)))
    for _, name in ipairs({ "lost", "dropped", "healed", "outages" }) do
      assert.equal(0, figures["cluster_" .. name], name)
      assert.equal(0, metric(group[1], name .. "_total"), name)
    end
    -- scripts have the same
    local own = cjson.decode(group[1]:http("/figures").body)
    for name, value in pairs(own) do
      if name:find("^cluster_") then assert.equal("number", type(figures[name]), name .. value) end
    end
    assert.is_true(own.cluster_published >= 3)
    assert.equal(1, own.cluster_servers_up)
  end)

  it("stays ready while Redis is away, and says why", function()
    local one = group[1]
    group.redis:kill()
    assert.equal("ready cluster=down",
      loop.ask_until(function() return ready(one) end, "ready cluster=down"))
    assert.equal(200, get(one, "/readyz").status)
    local figures = stats(one)
    assert.same({ "down", 0, 1 },
      { figures.cluster, figures.cluster_servers_up, figures.cluster_outages })
    assert.is_true(#figures.cluster_servers[1].why > 10)
    local line = one:wait_for_log("warn event=cluster_down")
    assert.matches("server=" .. group.redis.url:gsub("%p", "%%%0"), line)
    assert.matches(' why="[^"]+"', line)
    group.redis:start()
    assert.equal("ready cluster=up",
      loop.ask_until(function() return ready(one) end, "ready cluster=up"))
    assert.equal(2, #one:log_lines("info event=cluster_up server=.- kind=%a+ version=%d"))
    assert.equal(2, stats(one).cluster_servers[1].connects)
  end)

  it("tells no password", function()
    local other <close> = server.start({
      app = APP, options = { "--admin", "127.0.0.1:0" },
      environment = { TIDEWIRE_CLUSTER = group.redis.url:gsub("//", "//:" .. PASSWORD .. "@") },
    })
    assert.is_truthy(other:wait_for_log("event=cluster_down .*has no password"))
    for _, path in ipairs({ "/stats", "/metrics", "/readyz" }) do
      assert.is_nil(get(other, path).body:find(PASSWORD, 1, true), path)
    end
    assert.equal("ready cluster=down", ready(other))
    assert.is_nil(other:log():find(PASSWORD, 1, true))
  end)
end)

describe("a machine that is alone", function()
  it("says nothing of a cluster", function()
    local app <close> = server.start({ app = APP, options = { "--admin", "127.0.0.1:0" } })
    for path, pattern in pairs({ ["/readyz"] = "^ready\n$", ["/stats"] = "", ["/metrics"] = "" }) do
      local body = assert(http.request(app.admin, { path = path })).body
      assert.matches(pattern, body)
      assert.is_nil(body:find("cluster", 1, true), path)
    end
    assert.is_nil(app:http("/figures").body:find("cluster", 1, true))
  end)
end)
