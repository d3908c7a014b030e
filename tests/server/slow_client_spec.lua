-- slow_client_spec.lua -- clients that read too slowly: conn.backlog, max_backlog, the policies,
-- on_drain, and that no other client waits for them.

local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local record = require "record"
local tw = require "tidewire"
local slow

local KIB = ("k"):rep(1024)

-- Sends 1 KiB messages, each numbered, until send returns something else than true, or `count` are
-- sent.
local function flood(conn, count)
  local sent = 0
  for index = 1, count do
    local ok, why = conn:send(("%06d"):format(index) .. KIB)
    if not ok then
      record("refused", index, why, conn.backlog, conn:is_open())
      return
    end
    sent = index
  end
  record("sent", sent, conn.backlog)
end

local function with(options)
  options.ping_period = 0
  options.handle_message = function(conn, message)
    if message == "backlog" then conn:send(tostring(conn.backlog)) return end
    if message == "big" then
      record("big", conn:send(("b"):rep(8 << 20)))
      return
    end
    flood(conn, tonumber(message))
  end
  options.on_drain = function(conn) record("drain", conn.backlog) conn:send("drained") end
  options.on_close = function(conn, code) record("close", code) end
  return options
end

return {
  endpoints = {
    ["/close"]   = with({ max_backlog = 128 * 1024 }),
    ["/drop"]    = with({ max_backlog = 128 * 1024, slow_client = "drop" }),
    ["/default"] = with({}),
    ["/roomy"]   = with({ max_backlog = 64 * 1024 * 1024 }),
    ["/quick"]   = { handle_message = function(conn, message) conn:send(message) end },
  },
}
]]

describe("a client that does not read", function()
  local app

  before_each(function() app = server.start({ app = APP }) end)
  after_each(function()
    stream.close_all()
    app:stop()
  end)

  local function slow_client(path)
    local ada = app:connect(path, { receive_buffer = 65536 })
    ada.stream:pause()
    return ada
  end

  -- Asks for floods until one is refused, as it must be when the kernel takes no more; how much
  -- that is, is the system's.
  local function flood_until_refused(ada)
    local refused, sent = #app:events("refused"), #app:events("sent")
    repeat
      ada:send_text("2000")
      assert.is_truthy(loop.wait_until(function()
        return #app:events("refused") > refused or #app:events("sent") > sent
      end), "no word of the flood")
      sent = #app:events("sent")
    until #app:events("refused") > refused
    return app:events("refused")[refused + 1]
  end

  it("makes conn.backlog grow to max_backlog; then the server closes with 1008", function()
    local ada = slow_client("/close")
    local refused = flood_until_refused(ada)
    assert.is_true(refused[3] == "backlog" or refused[3] == "closed", tostring(refused[3]))
    assert.is_true(refused[4] <= 128 * 1024 + 2048, "backlog " .. refused[4])
    assert.equal(1008, app:wait_event("close")[2])
    assert.equal(1, #app:events("close"))
    assert.equal("quick", (app:connect("/quick"):ask("quick")))
  end)

  it("receives 1008 when it reads on, if the frame can still be sent", function()
    local ada = slow_client("/close")
    flood_until_refused(ada)
    app:wait_event("close")
    ada.stream:catch_up()
    local code = ada:wait_closed()
    assert.is_true(code == 1008 or code == 1006, tostring(code))
  end)

  it("is dropped in the end, even if it never reads again", function()
    local fds = app.process:fd_count()
    local ada = slow_client("/close")
    flood_until_refused(ada)
    app:wait_event("close")
    assert.is_truthy(loop.wait_until(function() return app.process:fd_count() <= fds end))
  end)

  it("loses messages with \"drop\", and stays connected", function()
    local ada = slow_client("/drop")
    local refused = flood_until_refused(ada)
    assert.equal("backlog", refused[3])
    assert.is_true(refused[5], "not open any more")
    assert.is_true(refused[4] <= 128 * 1024, "backlog " .. refused[4])
    assert.is_true(refused[4] > 64 * 1024)
    ada.stream:catch_up()
    local last, count = 0, 0
    while true do
      local message = ada:receive()
      assert.is_string(message)
      if message == "drained" then break end
      local number = tonumber(message:sub(1, 6))
      assert.is_true(number == last + 1 or number == 1, ("%d after %d"):format(number, last))
      assert.equal(1030, #message)
      last, count = number, count + 1
    end
    assert.is_true(count >= refused[2] - 1)
    assert.equal(0, #app:events("close"))
    assert.equal("0", (ada:ask("backlog")))
  end)

  it("that reads on again makes on_drain be called, once", function()
    local ada = slow_client("/drop")
    flood_until_refused(ada)
    assert.equal(0, #app:events("drain"))
    ada.stream:catch_up()
    local event = app:wait_event("drain")
    assert.equal(0, event[2])
    local message
    repeat message = ada:receive() until message == "drained" or not message
    assert.equal("drained", message)
    assert.equal("0", (ada:ask("backlog")))
    assert.equal(1, #app:events("drain"))
  end)

  it("never calls on_drain when the queue stayed small", function()
    local ada = app:connect("/roomy")
    ada:send_text("100")
    assert.equal(100, #ada:receive_many(100))
    assert.equal("0", (ada:ask("backlog")))
    assert.equal(0, #app:events("drain"))
  end)

  it("may leave 1 MiB waiting by default", function()
    local ada = slow_client("/default")
    local refused = flood_until_refused(ada)
    assert.is_true(refused[4] <= (1 << 20) + 2048, "backlog " .. refused[4])
    assert.equal(1008, app:wait_event("close")[2])
  end)

  it("gets everything in order once it reads, if there was room", function()
    local ada = slow_client("/roomy")
    local floods = 0
    repeat -- until more waits than any other test lets wait
      floods = floods + 1
      ada:send_text("6000")
      local sent = app:wait_event("sent", floods)
      assert.equal(6000, sent[2])
    until sent[3] > 1 << 20
    ada.stream:catch_up()
    local number = 0
    while number < floods * 6000 do
      local message = assert(ada:receive())
      if message ~= "drained" then
        number = number + 1
        assert.equal((number - 1) % 6000 + 1, tonumber(message:sub(1, 6)))
      end
    end
  end)

  it("does not make others wait", function()
    local slow = {}
    for index = 1, 20 do
      slow[index] = slow_client("/default")
      slow[index]:send_text("900")
    end
    local bob = app:connect("/quick")
    for index = 1, 100 do assert.equal("m" .. index, (bob:ask("m" .. index))) end
    app:wait_event("sent", 20)
  end)

  it("may be sent one message larger than max_backlog when nothing else waits", function()
    local ada = app:connect("/drop")
    ada:send_text("big")
    assert.equal(8 << 20, #ada:receive(60))
    assert.is_true(app:wait_event("big")[2])
    local answer = ada:ask("backlog")
    if answer == "drained" then answer = ada:receive() end -- the sockets did not hold all of it
    assert.equal("0", answer)
  end)

  it("costs memory up to max_backlog each, and gives it back", function()
    if app.process:is_sanitized() then return end
    local warm = app:connect("/quick")
    warm:ask("x")
    local before = app.process:rss_kib()
    local slow = {}
    for index = 1, 10 do
      slow[index] = slow_client("/default")
      flood_until_refused(slow[index])
    end
    app:wait_event("close", 10)
    assert.is_true(app.process:rss_kib() - before < 10 * 1500 + 4096,
      "more than the limits allow")
    for _, each in ipairs(slow) do each:abort() end
    assert.equal("x", (warm:ask("x")))
  end)
end)
