-- storm_spec.lua -- two thousand quick connects and disconnects, ended in every possible way, leave
-- nothing behind: no connection, no descriptor, no memory, no missing call of a hook.

local client = require "support.client"
local frames = require "support.frames"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local here = require "here"
local tw = require "tidewire"
local counts = tw.shared("counts") -- over all workers
return {
  endpoints = {
    ["/"] = {
      on_start = function(conn)
        counts:incr("started")
        for seconds = 60, 80 do conn:every(seconds, function() end) end
      end,
      handle_message = function(conn, message) conn:send(message) end,
      on_close = function() counts:incr("closed") end,
    },
  },
  http = {
    ["/counts"] = function()
      return {
        status = 200, body = (counts:get("started") or 0) .. " " .. (counts:get("closed") or 0),
      }
    end,
    ["/collect"] = here.route(function() collectgarbage() collectgarbage() return 204 end),
    ["/connections"] = function() return tostring(math.tointeger(tw.stats().connections)) end,
  },
}
]]

-- Ways to come and go, each given a stream that is connected.
local endings = {
  function(peer) peer:abort() end,
  function(peer) peer:write("GET / HT") peer:abort() end,
  function(peer) peer:write((client.handshake("/"))) peer:abort() end,
  function(peer) peer:write((client.handshake("/"))) peer:close() end,
  function(peer)
    peer:write(client.handshake("/") .. frames.encode({ payload = "hello" })
      .. frames.encode({ opcode = "close", payload = frames.close_payload(1000) }))
    peer:wait_end()
    peer:close()
  end,
  function(peer)
    peer:write(client.handshake("/") .. frames.encode({ payload = "half a frame" }):sub(1, 9))
    peer:close()
  end,
  function(peer)
    peer:write(client.handshake("/", { version = "1.0" }))
    peer:wait_end()
    peer:close()
  end,
  function(peer) peer:write((client.handshake("/nowhere"))) peer:close() end,
}

describe("more connections than the process has descriptors", function()
  after_each(stream.close_all)

  it("make it refuse or wait, not spin, and it accepts again after they close", function()
    local app <close> = server.start({ app = APP, descriptors = 64 })
    local first = app:connect("/")
    local peers = {}
    for index = 1, 100 do peers[index] = assert(stream.connect(app.addresses[1])) end
    local cpu = app.process:cpu_seconds()
    loop.pass(1)
    assert.is_true(app.process:cpu_seconds() - cpu < 0.5, "it spins")
    assert.equal("served", (first:ask("served")))
    for _, peer in ipairs(peers) do peer:close() end
    local deadline = loop.now() + loop.patience
    local ada
    repeat
      ada = client.connect(app:url("/"))
    until ada or loop.now() > deadline
    assert.equal("let in", (assert(ada, "no room again"):ask("let in")))
  end)
end)

describe("a storm of quick connections", function()
  local app

  lazy_setup(function() app = server.start({ app = APP }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  local function storm(count)
    for index = 1, count do
      local peer = assert(stream.connect(app.addresses[1]))
      endings[index % #endings + 1](peer)
    end
  end

  local function wait_until_empty()
    local deadline = loop.now() + loop.patience
    local counts, connections
    repeat
      counts = app:http("/counts").body
      connections = app:http("/connections").body
      local started, closed = counts:match("(%d+) (%d+)")
      if started == closed and connections == "0" then return end
      loop.pass(0.05)
    until loop.now() > deadline
    error(("left behind: connections=%s, on_start and on_close were called %s times")
      :format(connections, counts))
  end

  it("leaves no connection, no descriptor and no memory behind", function()
    storm(2000) -- the memory of such a peak stays with malloc
    wait_until_empty()
    for worker = 0, app.workers - 1 do app:http_on(worker, "/collect") end
    local fds, rss = app.process:fd_count(), app.process:rss_kib()
    storm(2000)
    wait_until_empty()
    for worker = 0, app.workers - 1 do app:http_on(worker, "/collect") end
    assert.is_true(loop.wait_until(function() return app.process:fd_count() <= fds end),
      ("%d descriptors before, %d after"):format(fds, app.process:fd_count()))
    if not app.process:is_sanitized() then
      local grown = app.process:rss_kib() - rss
      assert.is_true(grown < 2048, ("memory grew by %d KiB"):format(grown))
    end
    assert.equal("still here", (app:connect("/"):ask("still here")))
  end)
end)
