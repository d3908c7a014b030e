-- framing_spec.lua -- the wire, frame by frame (RFC 6455, sections 5 to 8): fragments, control
-- frames, UTF-8, size limits, and every kind of frame that breaks a rule.

local frames = require "support.frames"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local record = require "record"
local function echo(conn, message, kind) conn:send(message, kind) end
local function closed(conn, code) record("close " .. (conn.query.case or ""), code) end
return {
  endpoints = {
    ["/"]      = { handle_message = echo, on_close = closed, ping_period = 0 },
    ["/small"] = {
      handle_message = echo, on_close = closed, ping_period = 0, max_message_size = 1000,
    },
    ["/pinged"] = { handle_message = echo, ping_period = 0, control_rate = false },
    ["/large"] = {
      max_message_size = 64 * 1024 * 1024,
      handle_message = function(conn, message) conn:send(#message .. "") end,
    },
  },
}
]]

describe("the wire", function()
  local app

  lazy_setup(function() app = server.start({ app = APP }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  -- Connect, and give the connection a number. Returns the client and a function that waits for its
  -- on_close and returns the code.
  local cases = 0
  local function connect(path)
    cases = cases + 1
    local event = "close " .. cases
    return app:connect(("%s?case=%d"):format(path or "/", cases)), function()
      return app:wait_event(event)[2]
    end
  end

  -- The client sends `frames_sent`; the server must close with `code`, and on_close must get the
  -- same.
  local function assert_closes(code, frames_sent, path, note)
    local ada, wait_on_close = connect(path)
    ada.sent_close = true -- the test's own client answers nothing
    for _, frame in ipairs(frames_sent) do
      if type(frame) == "string" then ada:send_raw(frame) else ada:send_frame(frame) end
    end
    local seen, reason = ada:wait_closed()
    assert.equal(code, seen, ("%s: %s"):format(note or "", reason))
    assert.equal(code, wait_on_close(), note)
    assert.equal("fine", (app:connect("/"):ask("fine")))
  end

  describe("fragments", function()
    it("are put together, whatever their sizes", function()
      local ada = app:connect()
      for _, sizes in ipairs({
        { 1, 1 }, { 0, 5 }, { 5, 0 }, { 0, 0, 0 }, { 100, 70000, 3 }, { 125, 126, 65536 },
      }) do
        local whole = {}
        for index, size in ipairs(sizes) do
          local part = string.char(96 + index):rep(size)
          whole[index] = part
          ada:send_frame({
            opcode = index == 1 and "binary" or 0, payload = part, fin = index == #sizes,
          })
        end
        local answer, kind = ada:receive()
        assert.equal("binary", kind)
        assert.is_true(answer == table.concat(whole), table.concat(sizes, "+"))
      end
    end)

    it("let control frames in between", function()
      local ada = app:connect()
      ada:send_frame({ opcode = "text", payload = "one ", fin = false })
      ada:send_ping("first")
      ada:send_frame({ opcode = 0, payload = "two ", fin = false })
      assert.is_true(ada:wait_pings(1, nil, "pongs"))
      ada:send_frame({ opcode = "pong", payload = "unasked" })
      ada:send_ping("second")
      ada:send_frame({ opcode = 0, payload = "three" })
      assert.equal("one two three", (ada:receive()))
      assert.is_true(ada:wait_pings(2, nil, "pongs"))
      assert.equal("second", ada.pongs[2].payload)
    end)

    it("may arrive byte by byte", function()
      local ada = app:connect()
      local bytes = frames.encode({ payload = "héllo", fin = false })
        .. frames.encode({ opcode = 0, payload = " wörld" })
      for index = 1, #bytes do
        ada:send_raw(bytes:sub(index, index))
        ada.stream:flush()
      end
      assert.equal("héllo wörld", (ada:receive()))
    end)

    it("may all arrive in one packet, with the frames of other messages", function()
      local ada = app:connect()
      local bytes = {}
      for index = 1, 500 do
        bytes[#bytes + 1] = frames.encode({ payload = "a" .. index, fin = false })
        bytes[#bytes + 1] = frames.encode({ opcode = 0, payload = "b" })
        bytes[#bytes + 1] = frames.encode({ payload = "c" })
      end
      ada:send_raw(table.concat(bytes))
      local messages = ada:receive_many(1000)
      for index = 1, 500 do
        assert.equal("a" .. index .. "b", messages[2 * index - 1])
        assert.equal("c", messages[2 * index])
      end
    end)

    it("that were sent with the handshake are handled once, after on_start", function()
      local early = frames.encode({ payload = "early" }) .. frames.encode({ payload = "bird" })
      local ada = app:connect("/", { trailing = early })
      assert.same({ "early", "bird" }, ada:receive_many(2))
      assert.is_true(ada:is_silent(0.1))
      ada = app:connect("/", { trailing = early:sub(1, 4) })
      ada:send_raw(early:sub(5))
      assert.same({ "early", "bird" }, ada:receive_many(2))
    end)

    it("that are empty and never end are stopped, at a bounded cost", function()
      local ada, wait_on_close = connect()
      local before = app.process:cpu_seconds()
      ada:send_frame({ opcode = "text", payload = "", fin = false })
      ada:send_raw(frames.encode({ opcode = 0, fin = false, key = "\0\0\0\0" }):rep(100000))
      local code = ada:wait_closed()
      assert.is_true(code == 1008 or code == 1009 or code == 1006, "closed with " .. tostring(code))
      local closed = wait_on_close()
      assert.is_true(closed == 1008 or closed == 1009, "on_close got " .. closed)
      assert.is_true(app.process:cpu_seconds() - before < 5)
      assert.equal("fine", (app:connect():ask("fine")))
    end)
  end)

  describe("a frame that breaks a rule closes with 1002:", function()
    for note, frame in pairs({
      ["an unmasked frame"] = { payload = "x", masked = false },
      ["an unmasked empty frame"] = { masked = false },
      ["a length longer than needed, in two bytes"] = { payload = "x", length_bytes = 2 },
      ["a length longer than needed, in eight bytes"] = {
        payload = ("x"):rep(200), length_bytes = 8,
      },
      ["a length with its highest bit set"] = { length = math.mininteger, length_bytes = 8 },
      ["a ping with more than 125 bytes"] = { opcode = "ping", payload = ("x"):rep(126) },
      ["a close with more than 125 bytes"] = {
        opcode = "close", payload = "\3\232" .. ("x"):rep(124),
      },
      ["RSV1 without an extension"] = { payload = "x", rsv = 4 },
      ["RSV2"] = { payload = "x", rsv = 2 },
      ["RSV3"] = { payload = "x", rsv = 1 },
      ["RSV on a ping"] = { opcode = "ping", rsv = 7 },
      ["a continuation of nothing"] = { opcode = 0, payload = "x" },
      ["an unfinished continuation of nothing"] = { opcode = 0, payload = "x", fin = false },
      ["a fragmented ping"] = { opcode = "ping", fin = false },
      ["a fragmented pong"] = { opcode = "pong", fin = false },
      ["a fragmented close"] = { opcode = "close", fin = false },
    }) do
      it(note, function() assert_closes(1002, { frame }, nil, note) end)
    end

    it("every unknown opcode", function()
      for _, opcode in ipairs({ 3, 4, 5, 6, 7, 11, 12, 13, 14, 15 }) do
        assert_closes(1002, { { opcode = opcode } }, nil, "opcode " .. opcode)
      end
    end)

    it("a new message inside a message", function()
      assert_closes(1002, { { payload = "a", fin = false }, { payload = "b" } })
      assert_closes(1002,
        { { opcode = "binary", payload = "a", fin = false }, { payload = "b", fin = false } })
    end)
  end)

  describe("text", function()
    it("of every kind of code point passes, split anywhere", function()
      local ada = app:connect()
      local text =
        "κόσμε \u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{fffd}\u{ffff}\u{10000}\u{10ffff}\0 end"
      assert.equal(text, (ada:ask(text)))
      for cut = 0, #text do
        ada:send_frame({ payload = text:sub(1, cut), fin = false })
        ada:send_frame({ opcode = 0, payload = text:sub(cut + 1) })
        assert.equal(text, (ada:receive()))
      end
    end)

    it("that is not UTF-8 closes with 1007", function()
      for _, bytes in ipairs({
        "\xff", "\x80", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf0\x80\x80\xaf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xc3", "abc\xe2\x82", "\xf0\x9f\x9a",
        "fine \xc3\x28",
      }) do
        assert_closes(1007, { { payload = bytes } }, nil, ("%q"):format(bytes))
      end
    end)

    it("whose last fragment ends inside a code point closes with 1007", function()
      assert_closes(1007, { { payload = "\xe2\x82", fin = false }, { opcode = 0, payload = "" } })
      assert_closes(1007, { { payload = "\xe2", fin = false }, { opcode = 0, payload = "\x82" } })
      assert_closes(1007,
        { { payload = "\xe2\x82", fin = false }, { opcode = 0, payload = "\x28" } })
    end)

    it("is not what binary messages are judged as", function()
      local ada = app:connect()
      ada:send_binary("\xff\xfe\xc0\x80")
      assert.same({ "\xff\xfe\xc0\x80", "binary" }, { ada:receive() })
    end)
  end)

  describe("a message", function()
    it("of exactly max_message_size passes; one byte more closes with 1009", function()
      local ada = app:connect("/small")
      assert.equal(1000, #ada:ask(("x"):rep(1000)))
      assert_closes(1009, { { payload = ("x"):rep(1001) } }, "/small")
    end)

    it("may have 1 MiB by default", function()
      local ada = app:connect()
      ada:send_frame({ opcode = "binary", payload = ("x"):rep(1 << 20), key = "\0\0\0\0" })
      assert.equal(1 << 20, #ada:receive())
      assert_closes(1009, { { payload = ("x"):rep((1 << 20) + 1), key = "\0\0\0\0" } })
    end)

    it("is judged by its header, before the payload comes", function()
      assert_closes(1009, { { length = 1001 } }, "/small")
      assert_closes(1009, { { length = 70000 } }, "/small")
      assert_closes(1009, { { length = 1 << 40 } }, "/small")
      assert_closes(1009, { { length = math.maxinteger } }, "/small")
    end)

    it("is judged by the sum of its fragments", function()
      assert_closes(1009,
        { { payload = ("x"):rep(600), fin = false }, { opcode = 0, length = 401 } }, "/small")
      local many = {}
      for index = 1, 11 do
        many[index] = { opcode = index == 1 and 1 or 0, payload = ("x"):rep(100), fin = false }
      end
      assert_closes(1009, many, "/small")
    end)

    it("may be large where the handler allows it", function()
      local ada = app:connect("/large")
      local payload = ("0123456789abcdef"):rep(20 << 16)
      ada:send_frame({ opcode = "binary", payload = payload, key = "\0\0\0\0" })
      assert.equal(tostring(#payload), (ada:receive(60)))
    end)

    it("that is announced large and never sent costs no memory", function()
      local before = app.process:rss_kib()
      local waiting = {}
      for index = 1, 20 do
        waiting[index] = app:connect("/large")
        waiting[index]:send_frame({ opcode = "binary", payload = "begin", length = 60 << 20 })
      end
      assert.equal("fine", (app:connect():ask("fine")))
      if not app.process:is_sanitized() then
        assert.is_true(app.process:rss_kib() - before < 8192,
          "memory was taken for what was only announced")
      end
    end)
  end)

  describe("a Close frame", function()
    it("with a code that may be sent is answered with it", function()
      for _, code in ipairs({
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
      }) do
        local ada, wait_on_close = connect()
        assert.equal(code, (ada:close(code, "why")))
        assert.equal(code, wait_on_close())
      end
    end)

    it("with a code that may not be sent is answered with 1002", function()
      for _, code in ipairs({
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
      }) do
        assert_closes(1002, { { opcode = "close", payload = frames.close_payload(code) } }, nil,
          "code " .. code)
      end
    end)

    it("with half a code is answered with 1002", function()
      assert_closes(1002, { { opcode = "close", payload = "\3" } })
    end)

    it("with a reason that is not UTF-8 ends the connection", function()
      local ada, wait_on_close = connect()
      ada.sent_close = true
      ada:send_frame({ opcode = "close", payload = "\3\232\xff\xfe" })
      local code = ada:wait_closed()
      assert.is_true(code == 1007 or code == 1002 or code == 1006,
        "answered with " .. tostring(code))
      wait_on_close()
    end)

    it("in the middle of a message ends both", function()
      local ada = app:connect()
      ada:send_frame({ payload = "never ", fin = false })
      assert.equal(1000, (ada:close(1000)))
    end)
  end)

  describe("a flood of pings", function()
    it("is answered at a bounded cost in memory, and others are served meanwhile", function()
      local ada = app:connect("/pinged", { receive_buffer = 65536 })
      local bob = app:connect()
      local before = app.process:rss_kib()
      ada.stream:pause()
      local ping = frames.encode({ opcode = "ping", payload = ("p"):rep(125), key = "\0\0\0\0" })
      for _ = 1, 100 do ada:send_raw(ping:rep(4000)) end
      ada.stream:flush()
      assert.equal("me too", (bob:ask("me too")))
      if not app.process:is_sanitized() then
        assert.is_true(app.process:rss_kib() - before < 8192, "pings are hoarded")
      end
      ada:abort()
      assert.equal("still", (bob:ask("still")))
    end)

    it("from a client that reads late ends with the answer to the last one", function()
      local ada = app:connect("/pinged", { receive_buffer = 65536 })
      ada.stream:pause()
      local ping = frames.encode({ opcode = "ping", payload = ("p"):rep(125), key = "\0\0\0\0" })
      for _ = 1, 25 do ada:send_raw(ping:rep(4000)) end
      ada:send_ping("the last")
      ada.stream:flush()
      ada.stream:catch_up()
      assert.equal("read on", (ada:ask("read on"))) -- behind all that was queued
      assert.equal("the last", ada.pongs[#ada.pongs].payload)
    end)

    it("of a modest size is answered ping by ping", function()
      local ada = app:connect()
      for index = 1, 10 do ada:send_ping("ping " .. index) end
      assert.is_true(ada:wait_pings(10, nil, "pongs"))
      for index, pong in ipairs(ada.pongs) do assert.equal("ping " .. index, pong.payload) end
    end)
  end)
end)
