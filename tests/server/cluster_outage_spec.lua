-- cluster_outage_spec.lua -- a cluster whose Redis is away: at the start, in the middle, at the
-- end, and while hooks wait for it.

local chunks = require "support.chunks"
local cluster = require "support.cluster"
local loop = require "support.loop"
local stream = require "support.stream"

-- Clients send Lua code. ?room=r is joined in on_start.
local APP = [[
local chunks = require "chunks"
local record = require "record"
local tw = require "tidewire"

return {
  endpoints = { ["/*"] = {
    ping_period = 0,
    on_start = function(conn)
      if conn.query.room then
        record("joins", conn.query.room)
        record("joined", conn.query.room, (conn:join(conn.query.room)))
      end
      conn:send(conn.id)
    end,
    handle_message = function(conn, code)
      conn:send(chunks.run(code, { conn = conn, tw = tw }))
    end,
    on_close = function(conn)
      record("closed", conn.query.room)
      if conn.query.farewell then tw.room(conn.query.farewell):broadcast("farewell") end
    end,
  } },
}
]]

local missing = cluster.missing()
if missing then
  return it("a cluster without its Redis", function() pending(missing) end)
end

describe("a cluster without its Redis", function()
  after_each(stream.close_all)
  local run = chunks.ask

  local function connect(one, query)
    local peer = one:connect("/?" .. (query or ""))
    return peer, peer:receive()
  end

  local function wait_for_up(one, count)
    assert.is_truthy(loop.wait_until(function()
      return #one:log_lines("event=cluster_up") >= count
    end))
  end

  it("starts, says so, serves its own clients, and heals", function()
    local group <close> = cluster.start({ app = APP, count = 0 })
    group.redis:kill()
    local one, two = group:add(), group:add()
    assert.is_truthy(one:wait_for_log(
      'event=cluster_down server=redis://127.0.0.1:%d+ why="connection refused'))
    local ada, bob = connect(one, "room=lobby"), connect(one, "room=lobby")
    local _, eve_id = connect(two, "room=lobby")
    run(ada, "tw.room('lobby'):broadcast('here', conn)")
    assert.equal("here", (bob:receive()))
    assert.equal("nil unreachable", run(ada, ("return tw.send(%q, 'x')"):format(eve_id)))
    assert.equal("nil unreachable", run(ada, ("return tw.close(%q)"):format(eve_id)))
    group.redis:start()
    wait_for_up(one, 1)
    wait_for_up(two, 1)
    local late, speaker = connect(two, "room=later"), connect(one)
    run(speaker, "tw.room('later'):broadcast('healed')")
    assert.equal("healed", (late:receive()))
  end)

  it("loses nothing of what is published meanwhile, when Redis comes back", function()
    local group <close> = cluster.start({ app = APP })
    local ada, bob = connect(group[1]), connect(group[2], "room=lobby")
    group.redis:kill()
    for _, one in ipairs(group) do assert.is_truthy(one:wait_for_log("event=cluster_down")) end
    for i = 1, 20 do run(ada, ("tw.room('lobby'):broadcast('%d')"):format(i)) end
    group.redis:start()
    for i = 1, 20 do assert.equal(tostring(i), (bob:receive(20))) end
    chunks.check_got_only(bob)
    wait_for_up(group[1], 2)
    assert.is_truthy(group[1]:log_lines("event=cluster_up .*seconds=")[1])
  end)

  it("drops the oldest messages above limits.cluster_backlog, and says so", function()
    local group <close> = cluster.start({ app = APP,
      environment = { TIDEWIRE_LIMITS_CLUSTER_BACKLOG = "64K" } })
    local ada, bob = connect(group[1]), connect(group[2], "room=lobby")
    group.redis:kill()
    for _, one in ipairs(group) do assert.is_truthy(one:wait_for_log("event=cluster_down")) end
    run(ada, [[for i = 1, 200 do
      tw.room('lobby'):broadcast(('%d %s'):format(i, ('x'):rep(1000)))
    end]])
    assert.is_truthy(group[1]:wait_for_log("event=cluster_lost"))
    group.redis:start()
    local first = tonumber(bob:receive(20):match("^%d+"))
    assert.is_true(first > 130 and first < 200, tostring(first))
    for i = first + 1, 200 do
      assert.equal(tostring(i), (bob:receive():match("^%d+")))
    end
    chunks.check_got_only(bob)
  end)

  it("lets a join return when Redis dies meanwhile", function()
    local group <close> = cluster.start({ app = APP })
    local one = group[1]
    group.redis:pause()
    local ada = one:connect("/?room=fresh")
    one:wait_event("joins")
    assert.same({}, one:events("joined"))
    group.redis:continue()
    group.redis:kill()
    assert.same({ "joined", "fresh", true, n = 3 }, one:wait_event("joined"))
    assert.equal(24, #ada:receive())
    local bob = connect(one, "room=fresh")
    run(bob, "tw.room('fresh'):broadcast('here', conn)")
    assert.equal("here", (ada:receive()))
  end)

  it("ends a connection whose client leaves while it waits in a join", function()
    local group <close> = cluster.start({ app = APP })
    local one = group[1]
    group.redis:pause()
    local ada = one:connect("/?room=fresh")
    one:wait_event("joins")
    ada:abort()
    local bob = one:connect("/") -- others are served
    assert.equal(24, #bob:receive())
    group.redis:continue()
    one:wait_event("closed")
    assert.equal("1", run(bob, "return tw.stats().connections"))
  end)

  it("ends with SIGTERM while Redis is dead, or does not answer", function()
    for _, how in ipairs { "kill", "pause" } do
      local group <close> = cluster.start({ app = APP, count = 1 })
      local ada = connect(group[1], "room=lobby")
      run(ada, "tw.room('lobby'):broadcast('x', conn)")
      group.redis[how](group.redis)
      local waiting = how == "pause" and group[1]:connect("/?room=fresh")
      group[1]:stop()
      if waiting then group.redis:continue() end
    end
  end)
end)
