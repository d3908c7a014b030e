-- incomplete_messages_spec.lua -- messages in many pieces, and messages that never become complete:
-- max_fragments, message_timeout, limits.receive_backlog.

local frames = require "support.frames"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local here = require "here"
local record = require "record"
local tw = require "tidewire"

local flags = tw.shared("flags")
local function closed(conn, code, reason) record("close", code, reason) end
local function answer(conn, message) conn:send(#message .. " " .. message:sub(-8)) end

return {
  limits = { receive_backlog = LIMIT },
  defaults = {
    ping_period = 0, validate = here.validate, on_close = closed, handle_message = answer,
  },
  endpoints = {
    ["/"] = {},
    ["/few"] = { max_fragments = 10 },
    ["/brief"] = { message_timeout = 0.5 },
    ["/asleep"] = {
      handle_message = function(conn, message)
        if message == "wake up" then flags:set("awake", true) end
        while message == "sleep" and not flags:get("awake") do tw.sleep(0.01) end
        answer(conn, message)
      end,
    },
  },
}
]]

local NO_KEY = "\0\0\0\0"

describe("messages", function()
  local app

  local function start(limit)
    app = server.start({ app = (APP:gsub("LIMIT", limit)) })
  end
  after_each(function()
    stream.close_all()
    app:stop()
  end)

  local function begin(peer, payload)
    peer:send_frame({ opcode = "binary", payload = payload, fin = false, key = NO_KEY })
  end

  local function go_on(peer, payload, fin)
    peer:send_frame({ opcode = 0, payload = payload, fin = fin or false, key = NO_KEY })
  end

  it("may come in very many pieces of a few bytes", function()
    start "nil"
    for _, count in ipairs({ 1400, 100000 }) do
      for size = 1, 3 do
        local ada = app:connect("/")
        local piece = ("p"):rep(size)
        begin(ada, piece)
        local pieces =
          frames.encode({ opcode = 0, payload = piece, fin = false, key = NO_KEY }):rep(count - 2)
        ada:send_raw(pieces)
        go_on(ada, "the end.", true)
        assert.equal(("%d the end."):format((count - 1) * size + 8), (ada:receive(30)))
      end
    end
  end)

  it("have at most max_fragments pieces", function()
    start "nil"
    local ada = app:connect("/few")
    for _ = 1, 2 do
      begin(ada, "1")
      for piece = 2, 9 do go_on(ada, piece .. "") end
      go_on(ada, "0", true)
      assert.equal("10 34567890", (ada:receive()))
    end
    begin(ada, "1")
    for _ = 2, 11 do go_on(ada, "x") end
    local code, reason = ada:wait_closed()
    assert.equal(1008, code)
    assert.equal("too many fragments", reason)
  end)

  it("have message_timeout from their first byte, whatever keeps the connection alive", function()
    start "nil"
    local ada = app:connect("/brief")
    begin(ada, "a")
    local deadline = loop.now() + loop.patience
    while not ada.close_code and loop.now() < deadline do
      go_on(ada, "a")
      ada:send_ping("alive")
      ada:is_silent(0.02)
    end
    assert.equal("message took too long", ada.close_reason)
    assert.equal(1008, ada.close_code)
    assert.equal(1008, app:wait_event("close")[2])
  end)

  it("that are incomplete share receive_backlog; the oldest are closed first", function()
    start '"4M"'
    local peers = {}
    local before = app.process:rss_kib()
    for number = 1, 40 do
      peers[number] = app:connect_on(0)
      begin(peers[number], ("x"):rep(900000))
      peers[number]:send_ping("all of it has come")
      assert.is_true(peers[number]:wait_pings(1, nil, "pongs"))
    end
    if not app.process:is_sanitized() then
      assert.is_true(app.process:rss_kib() - before < 16384,
        "more is kept than receive_backlog says")
    end
    for number = 1, 10 do
      local code, reason = peers[number]:wait_closed()
      assert.equal(1013, code)
      assert.equal("too many unfinished messages", reason)
    end
    go_on(peers[40], "the end.", true)
    assert.equal("900008 the end.", (peers[40]:receive()))
  end)

  it("that wait for sleeping hooks count as well", function()
    start '"1M"'
    local peers = {}
    for number = 1, 120 do
      peers[number] = app:connect_on(0, "/asleep")
      peers[number]:send_text("sleep")
      peers[number]:send_binary(("x"):rep(60000))
    end
    assert.is_truthy(app:wait_for_log("code=1013"))
    local ada = app:connect_on(0, "/asleep")
    assert.equal("7 wake up", (ada:ask("wake up")))
    assert.equal("5 sleep", (peers[120]:receive()))
    assert.equal("60000 xxxxxxxx", (peers[120]:receive()))
  end)

  it("are received again when the waiting connections have closed", function()
    start '"64K"'
    for _ = 1, 5 do
      local peers = {}
      for number = 1, 10 do
        peers[number] = app:connect_on(0)
        begin(peers[number], ("x"):rep(60000))
      end
      stream.close_all()
    end
    local ada = app:connect_on(0)
    begin(ada, ("x"):rep(60000))
    go_on(ada, ("x"):rep(900000), true)
    assert.equal("960000 xxxxxxxx", (ada:receive()))
  end)
end)
