-- connect_send_spec.lua -- what waits to be sent by a client of tw.connect: client.backlog,
-- client:flush, and messages that max_backlog never lets pass.

local cjson = require "cjson"
local loop = require "support.loop"
local server = require "support.server"
local upstream = require "support.upstream"

-- Runs a message as Lua, which may wait, and sends what it returned.
local APP = [[
local tw = require "tidewire"
local kept = {}
return {
  handler_timeout = 60, codec = "json",
  handle_message = function(conn, source)
    local f = assert(load(source, "=run", "t", setmetatable({ tw = tw, kept = kept },
      { __index = _G })))
    local list = table.pack(pcall(f))
    for i = 1, list.n do if list[i] == nil then list[i] = tw.null end end
    conn:send(tw.array { table.unpack(list, 2, list.n) })
  end,
}
]]

-- Sends until the ceiling is reached, in several turns; returns what the last send returned.
local FILL = [[
  local count, ok, why = 0
  repeat
    ok, why = kept.client:send(("x"):rep(10000))
    if ok then count = count + 1 end
    if count % 20 == 0 then tw.sleep(0) end
  until not ok
]]

describe("a client that sends", function()
  local app, ada, other, peer
  setup(function() app = server.start({ app = APP }) end)
  teardown(function() app:stop() end)

  local function run(source)
    local list = cjson.decode((ada:ask(cjson.encode(source), 60)))
    for i, value in ipairs(list) do if value == cjson.null then list[i] = "nil" end end
    return list
  end

  before_each(function()
    ada = app:connect("/")
    other = upstream.start()
    run("kept.client = assert(tw.connect('" .. other.url .. "', { max_backlog = 100000 }))")
    peer = other.peers[1]
  end)
  after_each(function()
    ada:close()
    other:close()
  end)

  it("gets an error for a message that never fits into `max_backlog`", function()
    assert.same({ "run:1: client:send: a message of 99987 bytes does not fit into max_backlog, "
      .. "100000 bytes; give tw.connect a larger max_backlog" },
      run "local ok = kept.client:send(('x'):rep(99987)) return ok")
    assert.same({ true, true },
      run "return kept.client:send(('x'):rep(99986)), kept.client:flush()")
    assert.equal(99986, #upstream.wait_frame(peer, "text").payload)
    assert.same({ "nil", "closed" },
      run "kept.client:close() return kept.client:send(('x'):rep(99987))")
  end)

  it("knows how many bytes wait", function()
    assert.same({ 0, 9, 0, true }, run [[
      local client = kept.client
      local before = client.backlog
      client:send("abc") -- two bytes of a header, and the mask
      local queued = client.backlog
      local ok = client:flush()
      return before, queued, client.backlog, ok
    ]])
  end)

  it("waits with flush until the server reads", function()
    peer.handle:read_stop()
    assert.same({ "backlog", "nil", "timeout", true },
      run(FILL .. "local a, b = kept.client:flush(0.05) return why, a, b, kept.client.backlog > 0"))
    run [[
      tw.spawn(function() kept.received = kept.client:receive() end) -- does not keep flush waiting
      tw.spawn(function() kept.flushed = { kept.client:flush() } end)
    ]]
    peer.handle:read_start(peer.on_read)
    local function flushed() return run("return kept.flushed and kept.flushed[1]")[1] end
    assert.is_true(loop.ask_until(flushed, true))
    assert.same({ 0, true }, run "return kept.client.backlog, kept.client:send('more')")
  end)

  it("ends flush when the connection is closed", function()
    peer.handle:read_stop()
    run(FILL .. "tw.spawn(function() kept.ended = { kept.client:flush() } end)")
    peer:abort()
    local function ended() return run("return kept.ended and kept.ended[2]")[1] end
    assert.equal("closed", loop.ask_until(ended, "closed"))
    assert.same({ "nil", "closed", 0 }, run [[
      local ok, why = kept.client:flush(1)
      return ok, why, kept.client.backlog
    ]])
  end)

  it("refuses a timeout that is no number", function()
    assert.matches("^run:1: client:flush: timeout must be a number of seconds",
      run("local ok = kept.client:flush('soon') return ok")[1])
  end)
end)
