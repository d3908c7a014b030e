-- worker_backlog_spec.lua -- a worker that does not take messages of other workers:
-- limits.worker_backlog, and its connections. tests/unit/test_mailbox.c tests the bytes.

local chunks = require "support.chunks"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local WORKERS = math.max(2, tonumber(os.getenv("TIDEWIRE_TEST_WORKERS") or 1))

-- A client's text is Lua code; "= " and its results is the answer.
local APP = [[
local chunks = require "chunks"
local here = require "here"
local record = require "record"
local tw = require "tidewire"

local function endpoint(slow_client)
  return {
    slow_client = slow_client,
    ping_period = 0,
    max_backlog = "64M",
    validate = here.validate,
    on_start = function(conn) conn:join("lobby") conn:send(conn.id) end,
    handle_message = function(conn, code)
      conn:send(chunks.run(code, { conn = conn, tw = tw, record = record }))
    end,
    on_drain = function(conn) record("drain", conn.name) conn:send("drained") end,
    on_close = function(conn, code, reason) record("close", conn.name, code, reason) end,
  }
end

return {
  limits = { worker_backlog = "64K" },
  endpoints = {
    ["/close"] = endpoint("close"), ["/drop"] = endpoint("drop"),
    ["/conflate"] = endpoint("conflate"),
  },
}
]]

describe("a worker that does not take what others send it", function()
  local app, ada, pipe

  before_each(function()
    app = server.start({ app = APP, workers = WORKERS })
    ada = app:connect_on(0, "/drop")
    ada:receive()
    pipe = app.directory .. "/pipe"
    assert(os.execute(("mkfifo '%s'"):format(pipe)))
  end)
  after_each(function()
    stream.close_all()
    app:stop()
  end)

  -- A client of worker 1, and its id.
  local function connect(path)
    local peer = app:connect_on(1, path)
    return peer, (peer:receive())
  end

  -- Worker 1 stands still in a C function until the function that this returns is called.
  local function block_worker()
    local eve = app:connect_on(1, "/drop")
    eve:receive()
    chunks.ask(eve, "conn:leave('lobby')")
    eve:send_text(("record('held') io.open(%q):read(1)"):format(pipe))
    app:wait_event("held")
    return function()
      local file = assert(io.open(pipe, "w"))
      file:write("x")
      file:close()
      eve:receive()
    end
  end

  it("costs up to worker_backlog, and its connections are treated as slow clients", function()
    local bob = connect("/close")
    local cleo = connect("/drop")
    local dora = connect("/conflate")
    local go_on = block_worker()
    local got = chunks.ask(ada, [[
      conn:leave("lobby")
      local got, kib = 0, ("x"):rep(1024)
      for i = 1, 5000 do got = got + tw.room("lobby"):broadcast(i .. " " .. kib) end
      return got]])
    assert.equal(0, got % 3)
    local each = got // 3
    assert.is_true(each > 10 and each < 64, each .. " of 5000 messages wait")
    go_on()
    for number = 1, each do
      local start = "^" .. number .. " "
      for _, peer in ipairs({ bob, cleo, dora }) do assert.matches(start, (peer:receive())) end
    end
    local code, reason = bob:wait_closed()
    assert.equal(1008, code)
    assert.equal("slow worker", reason)
    assert.same({ "close", "/close", 1008, "slow worker" },
      { table.unpack(app:wait_event("close"), 1, 4) })
    assert.equal("drained", (cleo:receive()))
    assert.equal("drained", (dora:receive()))
    assert.equal("2", chunks.ask(ada, "return tw.room('lobby'):broadcast('again')"))
    assert.equal("again", (cleo:receive()))
    assert.equal(2, #app:events("drain"))
    assert.is_truthy(app:wait_for_log("event=worker_behind.*limits.worker_backlog"))
  end)

  it("is reported to the sender to one connection", function()
    local _, bob = connect("/close")
    local _, cleo = connect("/drop")
    local go_on = block_worker()
    local send = [[
      local kib = ("x"):rep(1024)
      for i = 1, 5000 do
        local ok, why = tw.send(%q, kib)
        if not ok then return why end
      end]]
    assert.equal("backlog", chunks.ask(ada, send:format(cleo)))
    assert.equal("closed", chunks.ask(ada, send:format(bob)))
    go_on()
    assert.equal(1008, app:wait_event("close")[3])
    assert.equal("/drop", app:wait_event("drain")[2])
  end)

  it("obeys a limit that a reload has changed", function()
    local cleo = connect("/drop")
    local path = app.directory .. "/app.lua"
    local file = assert(io.open(path, "w"))
    file:write((APP:gsub('"64K"', '"64M"')))
    file:close()
    app:signal("sighup")
    assert.is_truthy(app:wait_for_log("event=reloaded"))
    local go_on = block_worker()
    assert.equal("2000", chunks.ask(ada, [[
      conn:leave("lobby")
      local got = 0
      for i = 1, 2000 do got = got + tw.room("lobby"):broadcast(("x"):rep(1024)) end
      return got]]))
    go_on()
    assert.equal(2000, #cleo:receive_many(2000))
    loop.pass(0)
    assert.equal(0, #app:events("drain"))
  end)
end)
