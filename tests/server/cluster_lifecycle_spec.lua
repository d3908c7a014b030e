-- cluster_lifecycle_spec.lua -- a machine of a cluster ends, is reloaded and is replaced by an
-- upgrade; the option `cluster` in its forms.

local chunks = require "support.chunks"
local cluster = require "support.cluster"
local loop = require "support.loop"
local process = require "support.process"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

-- Clients send Lua code. ?rooms=a are joined in on_start.
local APP = [[
local chunks = require "chunks"
local tw = require "tidewire"

return {
  cluster = CLUSTER,
  endpoints = { ["/*"] = {
    ping_period = 0,
    on_start = function(conn)
      if conn.query.room then conn:join(conn.query.room) end
      conn:send(conn.id)
    end,
    handle_message = function(conn, code)
      conn:send(chunks.run(code, { conn = conn, tw = tw }))
    end,
    on_close = function(conn)
      if conn.query.farewell then tw.room(conn.query.farewell):broadcast("farewell") end
    end,
  } },
}
]]

local function with_cluster(value)
  return (APP:gsub("CLUSTER", (value:gsub("%%", "%%%%"))))
end

local missing = cluster.missing()
if missing then
  return it("the life of a machine of a cluster", function() pending(missing) end)
end

local run = chunks.ask

local function connect(one, query)
  local peer = one:connect("/?" .. (query or ""))
  return peer, peer:receive()
end

describe("the end of a machine of a cluster", function()
  after_each(stream.close_all)

  it("sends what on_close publishes, and takes it out of the cluster at once", function()
    local group <close> = cluster.start({ app = with_cluster "nil" })
    local bob = connect(group[2], "room=lobby")
    local ada, ada_id = connect(group[1], "farewell=lobby")
    assert.equal("true", run(bob, ("return tw.send(%q, 'x')"):format(ada_id)))
    group[1]:signal("sigterm")
    assert.equal(1001, (ada:wait_closed()))
    assert.equal("farewell", (bob:receive()))
    assert.equal("nil closed", loop.ask_until(function()
      return run(bob, ("return tw.send(%q, 'x')"):format(ada_id))
    end, "nil closed"))
    assert.equal("nil closed", run(bob, ("return tw.close(%q)"):format(ada_id)))
    assert.is_truthy(group[2]:wait_for_log("event=cluster_node_left"))
  end)

  it("comes at once while its start waits for a Redis that does not answer", function()
    local silent, clients = uv.new_tcp(), {}
    assert(silent:bind("127.0.0.1", 0))
    assert(silent:listen(8, function()
      local client = uv.new_tcp()
      silent:accept(client)
      clients[#clients + 1] = client
    end))
    local app <close> = server.launch({ app = with_cluster(
      ('"redis://127.0.0.1:%d"'):format(silent:getsockname().port)) })
    assert.is_truthy(loop.wait_until(function() return #clients > 0 end))
    app:signal("sigterm")
    assert.equal(0, app.process:wait_exit())
    assert.is_nil(app:log():find("event=ready", 1, true))
    for _, client in ipairs(clients) do client:close() end
    silent:close()
  end)

  it("knows a machine that has begun just now, and none that there never was", function()
    local group <close> = cluster.start({ app = with_cluster "nil", count = 1 })
    local bob = connect(group[1], "room=lobby")
    for _, id in ipairs { ("0"):rep(24), ("v"):rep(24), ("z"):rep(24), "x", "" } do
      assert.equal("nil closed", run(bob, ("return tw.send(%q, 'x')"):format(id)))
    end
    local ada = connect(group:add())
    run(ada, "tw.room('lobby'):broadcast(conn.id)")
    local ada_id = bob:receive()
    assert.equal("true", run(bob, ("return tw.send(%q, 'hello')"):format(ada_id)))
    assert.equal("hello", (ada:receive()))
  end)
end)

describe("a reload of a machine of a cluster", function()
  after_each(stream.close_all)

  it("keeps the cluster that runs, and says that another one needs a restart", function()
    local group <close> = cluster.start({ app = with_cluster "nil" })
    local one = group[1]
    local ada, bob = connect(one), connect(group[2], "room=lobby")
    reloads.good(one, with_cluster '{ prefix = "other" }')
    assert.is_truthy(one:wait_for_log("event=configuration .*`cluster` has changed"))
    run(ada, "tw.room('lobby'):broadcast('still here')")
    assert.equal("still here", (bob:receive()))
    reloads.good(one, with_cluster '{ prefix = "other" }')
    assert.equal(1, #one:log_lines("`cluster` has changed"))
  end)
end)

describe("an upgrade of a machine of a cluster", function()
  after_each(stream.close_all)

  it("takes the old process out, and the new one in", function()
    local folder = process.make_directory()
    local options = { "--pid-file", folder .. "/pid" }
    local group <close> = cluster.start({ app = with_cluster "nil", count = 1 })
    local bob = connect(group[1], "room=lobby")
    local old = group:add({ options = options })
    local ada, ada_id = connect(old, "farewell=lobby")
    local address = ("127.0.0.1:%d"):format(old.addresses[1].port)
    local new = group:add({ options = { "--upgrade", table.unpack(options) },
      listen = { address } })
    assert.equal(1001, (ada:wait_closed()))
    assert.equal("farewell", (bob:receive()))
    local eve, eve_id = connect(new, "room=lobby")
    assert.equal("true", run(bob, ("return tw.send(%q, 'hello')"):format(eve_id)))
    assert.equal("hello", (eve:receive()))
    assert.equal("nil closed", loop.ask_until(function()
      return run(bob, ("return tw.send(%q, 'x')"):format(ada_id))
    end, "nil closed"))
    assert.equal(0, old.process:wait_exit())
    process.remove_directory(folder)
  end)
end)

describe("the option `cluster`", function()
  -- What `tidewire check` says of it.
  local function check(value, environment)
    local folder = process.make_directory()
    process.write_file(folder .. "/app.lua", with_cluster(value):gsub('require "chunks"', "{}"))
    local result = server.run({ "check", "app.lua" },
      { directory = folder, environment = environment })
    process.remove_directory(folder)
    return result.code, result.stderr .. result.stdout
  end

  it("is a URL, a list of URLs, a table, or false", function()
    for _, value in ipairs {
      '"redis://127.0.0.1:6379"', '"valkey://127.0.0.1"', '"rediss://ada:secret@[::1]:6380/2"',
      '"redis+unix:///run/redis.sock"', '{ "redis://one", "redis://two" }', "false", "nil",
      '{ url = "redis://one", prefix = "chat", verify = false, ca = "ca.pem" }',
      '{ urls = { "redis://one", "redis://two" }, certificate = "a.pem", key = "b.pem" }',
    } do
      local code, text = check(value)
      assert.same({ value, 0 }, { value, code }, text)
    end
  end)

  it("says what is wrong, and shows no password", function()
    for value, problem in pairs {
      ['"http://ada:secret@host"'] = "cluster: ",
      ['"redis://ada:secret@host:99999"'] = "cluster: ",
      ['""'] = 'cluster: expected a URL, got ""',
      ["{ }"] = "cluster: it needs url",
      ["7"] = "cluster: expected the URL of a Redis server",
      ["{ 7 }"] = "cluster: expected a URL, got number",
      ['{ "redis://one", "redis://one" }'] = "cluster: URL 2: it comes twice",
      ['{ "redis://one", "ftp://ada:secret@two" }'] = "cluster: URL 2: ",
      ['{ url = "redis://one", urls = { "redis://two" } }'] = "one of the two is enough",
      ['{ url = "redis://one", prefx = "x" }'] = 'there is no prefx; did you mean "prefix"',
      ['{ url = "redis://one", prefix = "a{b}" }'] = "cluster: prefix: expected at most 64 letters",
      ['{ url = "redis://one", key = "key.pem" }'] = "cluster: key: it needs certificate",
      ['{ url = "redis://one", verify = 1 }'] = "cluster: verify: expected true or false",
      ['{ prefix = "x" }'] = "cluster: it needs url",
    } do
      local code, text = check(value)
      assert.same({ value, 2 }, { value, code })
      assert.is_truthy(text:find(problem, 1, true), value .. ": " .. text)
      assert.is_nil(text:find("secret", 1, true), text)
    end
    local code, text = check("nil", { TIDEWIRE_CLUSTER = "redis://one, ftp://ada:secret@two" })
    assert.equal(2, code)
    assert.matches("TIDEWIRE_CLUSTER: URL 2: ", text)
    assert.is_nil(text:find("secret", 1, true), text)
  end)

  it("gets its URLs from the command line, the environment or the app, in this order", function()
    local function start(value, options, environment)
      local app <close> = server.start({ app = with_cluster(value), options = options,
        environment = environment })
      return app:wait_for_log("event=cluster_down server=(%S+)"):match("server=(%S+)")
    end
    local in_app = '{ url = "redis://127.0.0.1:1", prefix = "chat" }'
    assert.equal("redis://127.0.0.1:1", start(in_app))
    assert.equal("redis://127.0.0.1:2", start(in_app, nil,
      { TIDEWIRE_CLUSTER = "redis://127.0.0.1:2" }))
    assert.equal("redis://127.0.0.1:3", start("{ prefix = 'x' }",
      { "--cluster", "redis://127.0.0.1:3" }, { TIDEWIRE_CLUSTER = "redis://127.0.0.1:2" }))
  end)

  it("keeps apps with other prefixes apart", function()
    local group <close> = cluster.start({ app = with_cluster "nil", count = 1 })
    local two = group:add({ app = with_cluster '{ prefix = "other" }' })
    local ada, bob = connect(group[1], "room=lobby"), connect(two, "room=lobby")
    run(ada, "tw.room('lobby'):broadcast('x', conn) tw.broadcast('y', conn)")
    chunks.check_got_only(bob)
  end)
end)
