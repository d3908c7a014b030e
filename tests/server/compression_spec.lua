-- compression_spec.lua -- permessage-deflate (RFC 7692): what is negotiated, messages in both
-- directions, broadcasts, contexts, reloads.

local cjson = require "cjson"
local deflate = require "support.deflate"
local frames = require "support.frames"
local http = require "support.http"
local loop = require "support.loop"
local reloads = require "support.reloads"
local server = require "support.server"

local APP = [[
local tw = require "tidewire"
local here = require "here"
local function echo(conn, message, kind) conn:send(message, kind) end
local ids = tw.shared("ids")
local function run(conn, code)
  local ok, result = pcall(assert(load(code, "=code", "t",
    setmetatable({ conn = conn, tw = tw, ids = ids }, { __index = _G }))))
  if not ok or result ~= nil then conn:send("= " .. tostring(result)) end
end
local function member(compression, more)
  local handler = {
    validate = here.validate, compression = compression, handle_message = run,
    on_start = function(conn)
      conn:join("all")
      if conn.request.query.name then ids:set(conn.request.query.name, conn.id) end
      conn:send("joined")
    end,
  }
  for name, value in pairs(more or {}) do handler[name] = value end
  return handler
end
return {
  defaults = { ping_period = 0 },
  endpoints = {
    ["/echo"] = { compression = { threshold = 0 }, handle_message = echo },
    ["/usual"] = { compression = true, handle_message = echo },
    ["/context"] = { compression = { threshold = 0, context = true }, handle_message = echo },
    ["/off"] = { handle_message = echo },
    ["/explicit"] = { compression = false, handle_message = echo },
    ["/small"] = {
      compression = { threshold = 0 }, max_message_size = 1000,
      handle_message = function(conn, message) conn:send(tostring(#message)) end,
    },
    ["/late"] = {
      compression = { threshold = 0 },
      handle_message = function(conn, message) tw.sleep(0.001) conn:send(message) end,
    },
    ["/room"] = member({ threshold = 10 }),
    ["/room/context"] = member({ threshold = 10, context = true }),
    ["/room/plain"] = member(),
    ["/slow"] = member({ threshold = 10, context = true },
      { slow_client = "drop", max_backlog = 100000 }),
    ["/conflate"] = member({ threshold = 10, context = true },
      { slow_client = "conflate", max_backlog = 200000 }),
  },
  admin = "127.0.0.1:0",
}
]]

describe("compression", function()
  local app
  setup(function() app = server.start({ app = APP }) end)
  teardown(function() app:stop() end)

  local function connect(path, offer, options)
    options = options or {}
    options.deflate = offer or ""
    return app:connect(path, options)
  end

  local function stats()
    return cjson.decode(http.request(app.admin, "/stats").body)
  end

  local function text_of(length, seed)
    local parts, size = {}, 0
    for index = 1, length do
      parts[index] =
        ('{"id":%d,"x":%d,"name":"ada"},'):format(index * (seed or 7) % 1000, index % 5)
      size = size + #parts[index]
      if size > length then break end
    end
    return table.concat(parts):sub(1, length)
  end

  describe("is negotiated", function()
    it("where the endpoint has it and the client offers it", function()
      local none = "; server_no_context_takeover; client_no_context_takeover"
      assert.equal(none, connect("/echo").deflate.answer)
      assert.equal(none, connect("/echo", "; client_max_window_bits").deflate.answer)
      assert.equal(none .. "; server_max_window_bits=10",
        connect("/echo", "; server_max_window_bits=10").deflate.answer)
      assert.equal("", connect("/context").deflate.answer)
      assert.equal("; client_max_window_bits=12",
        connect("/context", "; client_max_window_bits").deflate.answer)
      assert.equal("; server_no_context_takeover",
        connect("/context", "; server_no_context_takeover").deflate.answer)
      for _, path in ipairs({ "/off", "/explicit" }) do
        assert.is_nil(connect(path).deflate)
        assert.equal("plain", (connect(path):ask("plain")))
      end
      assert.is_nil(app:connect("/echo").deflate)
    end)

    it("by the first offer that can be accepted", function()
      assert.equal("; server_no_context_takeover; client_no_context_takeover; "
        .. "server_max_window_bits=12",
        connect("/echo", "; server_max_window_bits=8, permessage-deflate; nonsense, foo; bar=1, "
          .. "permessage-deflate; server_max_window_bits=12, permessage-deflate").deflate.answer)
    end)

    it("or not, and the connection is uncompressed", function()
      for _, offer in ipairs({
        "; server_max_window_bits=8", "; server_max_window_bits", "; client_max_window_bits=16",
        "; nonsense", "; client_max_window_bits; client_max_window_bits",
      }) do
        local ada = connect("/echo", offer)
        assert.is_nil(ada.deflate, offer)
        local text = text_of(3000)
        assert.equal(text, (ada:ask(text)))
      end
    end)

    it("with a header that keeps to the grammar, or refused with 400", function()
      for _, path in ipairs({ "/echo", "/off" }) do
        for _, offer in ipairs({ ";", "; =1", '; x="', "; x=", " y" }) do
          local _, problem = pcall(connect, path, offer)
          assert.matches("400", tostring(problem), 1, true)
        end
      end
    end)

    it("not with Safari 15.3", function()
      local agent = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, "
        .. "like Gecko) Version/15.%d Safari/605.1.15"
      assert.is_nil(
        connect("/echo", "", { headers = { ["User-Agent"] = agent:format(3) } }).deflate)
      assert.is_truthy(
        connect("/echo", "", { headers = { ["User-Agent"] = agent:format(4) } }).deflate)
    end)
  end)

  describe("carries", function()
    it("messages of every size, compressed and not, in both directions", function()
      for _, path in ipairs({ "/echo", "/usual", "/context", "/late" }) do
        local ada = connect(path)
        for _, size in ipairs({ 0, 1, 2, 10, 125, 126, 127, 1000, 1024, 4000, 20000 }) do
          local text = text_of(size)
          ada:send_compressed(deflate.stored(text))
          assert.equal(text, (ada:receive()))
          ada:send_compressed(deflate.fixed(text), "binary")
          assert.equal(text, (ada:receive()))
          assert.equal(text, (ada:ask(text)))
        end
        assert.is_true(ada.compressed > 8)
      end
    end)

    it("an empty message, in the three forms that it has", function()
      local ada = connect("/context")
      for _, payload in ipairs({ "\0", "", "\2\0" }) do
        ada:send_compressed(payload)
        assert.same({ "", "text" }, { ada:receive() })
      end
      assert.equal("", (ada:ask("")))
    end)

    it("fragments, with control frames between them", function()
      local ada = connect("/echo")
      local text = text_of(5000)
      local payload = deflate.fixed(text)
      ada:send_frame({ payload = payload:sub(1, 100), fin = false, rsv = 4 })
      ada:send_ping("ping")
      ada:send_frame({ opcode = 0, payload = "", fin = false })
      ada:send_frame({ opcode = 0, payload = payload:sub(101), fin = true })
      assert.equal(text, (ada:receive()))
      assert.equal("ping", ada.pongs[1].payload)
    end)

    it("messages byte by byte, and many in one piece", function()
      local ada = connect("/context")
      local text = text_of(300)
      local bytes = frames.encode({ payload = deflate.fixed(text), rsv = 4 })
      for index = 1, #bytes do
        ada:send_raw(bytes:sub(index, index))
        ada.stream:flush()
      end
      assert.equal(text, (ada:receive()))
      ada:send_raw(bytes:rep(200))
      for _, answer in ipairs(ada:receive_many(200)) do assert.equal(text, answer) end
    end)

    it("what comes while a hook sleeps and nothing is read", function()
      local ada = connect("/late")
      local sent = {}
      for index = 1, 150 do
        sent[index] = index .. text_of(1500)
        ada:send_compressed(deflate.fixed(sent[index]))
      end
      assert.same(sent, ada:receive_many(150))
    end)

    it("final blocks, which do not end a message", function()
      local ada = connect("/context")
      ada:send_compressed("\xf3\x48\xcd\xc9\xc9\x07\x00\x00")
      assert.equal("Hello", (ada:receive()))
      ada:send_compressed("\xf3\x48\xcd\xc9\xc9\x07\x00")
      assert.equal("Hello", (ada:receive()))
      ada:send_compressed("\xf2\x48\xcd\xc9\xc9\x07\x00")
      assert.equal("Hello", (ada:receive()))
    end)
  end)

  describe("closes with", function()
    local function closed(path, frame, offer)
      local ada = connect(path, offer)
      ada:send_frame(frame)
      return { ada:wait_closed() }
    end

    it("1002 where RSV1 has no meaning", function()
      assert.same({ 1002, "reserved bit set without an extension" },
        closed("/off", { payload = "\0", rsv = 4 }))
      for _, frame in ipairs({
        { payload = "\0", rsv = 6 }, { payload = "\0", rsv = 5 }, { payload = "\0", rsv = 2 },
        { opcode = "ping", rsv = 4 }, { opcode = "close", rsv = 4 }, { opcode = 0, rsv = 4 },
        { opcode = 3, rsv = 4 },
      }) do
        assert.equal(1002, closed("/echo", frame)[1])
      end
      local ada = connect("/echo")
      ada:send_frame({ payload = "\0", rsv = 4, fin = false })
      ada:send_frame({ opcode = 0, payload = "\0", rsv = 4 })
      assert.same({ 1002, "reserved bit set" }, { ada:wait_closed() })
    end)

    it("1007 for what is no deflate data, or is truncated", function()
      for _, path in ipairs({ "/echo", "/context" }) do
        local whole = deflate.fixed("Hello, world")
        for _, payload in ipairs({
          "\xff\xff\xff", "\6", whole:sub(1, 5), deflate.stored("Hello"):sub(1, 7),
          "\xf2\0\x11\0\0",
        }) do
          assert.same({ 1007, "compressed message is invalid" },
            closed(path, { payload = payload, rsv = 4 }))
        end
      end
    end)

    it("1007 for text that is not UTF-8 once decompressed", function()
      for _, text in ipairs({ "\xff", "abc\xc3", "\xed\xa0\x80" }) do
        assert.same({ 1007, "text is not valid UTF-8" },
          closed("/echo", { payload = deflate.stored(text), rsv = 4 }))
        local ada = connect("/echo")
        ada:send_compressed(deflate.stored(text), "binary")
        assert.equal(text, (ada:receive()))
      end
    end)

    it("1009 for more bytes than max_message_size, once decompressed", function()
      local ada = connect("/small")
      for _, make in ipairs({ deflate.stored, deflate.fixed }) do
        ada:send_compressed(make(("\xc3\xbc"):rep(500)))
        assert.equal("1000", (ada:receive()))
        assert.same({ 1009, "message too big" },
          closed("/small", { payload = make(("a"):rep(1001)), rsv = 4 }))
      end
      assert.same({ 1009, "message too big" },
        closed("/small", { payload = deflate.bomb(1 << 24), rsv = 4 }))
      assert.same({ 1009, "message too big" },
        closed("/small", { payload = "", length = 1 << 40, rsv = 4 }))
    end)
  end)

  describe("is left out", function()
    it("below the threshold, and where it gains nothing", function()
      local ada = connect("/usual")
      ada:ask(text_of(1023))
      assert.equal(0, ada.compressed)
      ada:ask(text_of(1024))
      assert.equal(1, ada.compressed)
      local noise = {}
      for index = 1, 2000 do noise[index] = string.char(math.random(0, 255)) end
      ada:send_binary(table.concat(noise))
      assert.equal(table.concat(noise), (ada:receive()))
      assert.equal(1, ada.compressed)
    end)

    it("where the script says so", function()
      for _, path in ipairs({ "/room", "/room/context" }) do
        local ada = connect(path .. "?name=ada")
        ada:receive()
        local function send(code)
          local before = ada.compressed
          ada:send_text(code)
          assert.equal(("x"):rep(500), (ada:receive()))
          return ada.compressed - before
        end
        assert.equal(1, send "conn:send(('x'):rep(500))")
        assert.equal(1, send "conn:send(('x'):rep(500), { compress = true })")
        assert.equal(0, send "conn:send(('x'):rep(500), { compress = false })")
        assert.equal(0, send "conn:send(('x'):rep(500), { compress = false, kind = 'binary' })")
        assert.equal(1, send "tw.send(conn.id, ('x'):rep(500))")
        assert.equal(0, send "tw.send(conn.id, ('x'):rep(500), { compress = false })")
        assert.equal(1, send "tw.room('all'):broadcast(('x'):rep(500))")
        assert.equal(0, send "tw.room('all'):broadcast(('x'):rep(500), { compress = false })")
        assert.equal(0, send("tw.broadcast(('x'):rep(500), { endpoint = conn.name, "
          .. "compress = false })"))
        assert.equal(1, send "conn:send(('x'):rep(500), { key = 'k' })")
        ada:send_text("conn:send('x', { compress = 1 })")
        assert.matches("compress must be true or false, got 1", (ada:receive()), 1, true)
        ada:close(1000)
      end
    end)
  end)

  it("of a broadcast happens once, for all who share parameters", function()
    local members = {}
    local function add(count, path, offer)
      for index = 1, count do
        local each = offer and connect(path .. "?worker=" .. index % app.workers, offer)
          or app:connect_on(index % app.workers, path)
        each:receive()
        members[#members + 1] = each
      end
    end
    local function connect_many(path, offer)
      for index = 1, 6 do
        local each
        repeat
          local ok, result = pcall(connect, path .. "?worker=" .. index % app.workers, offer)
          each = ok and result
        until each
        each:receive()
        members[#members + 1] = each
      end
    end
    connect_many("/room", "")
    connect_many("/room", "; client_max_window_bits")
    connect_many("/room", "; server_max_window_bits=10")
    add(3, "/room/plain", nil)
    local before = stats()
    local text = ("ada and bob "):rep(500)
    members[1]:send_text("tw.room('all'):broadcast(('ada and bob '):rep(500))")
    for _, each in ipairs(members) do assert.equal(text, (each:receive())) end
    local after = stats()
    assert.equal(2, after.compressions - before.compressions) -- 15 bits, and 10
    assert.equal(18, after.compressed_messages_sent - before.compressed_messages_sent)
    assert.equal(2 * #text, after.compression_bytes_in - before.compression_bytes_in)
    assert.is_true(after.compression_bytes_out - before.compression_bytes_out < #text)
    for index, each in ipairs(members) do assert.equal(index <= 18 and 1 or 0, each.compressed) end
    for _, each in ipairs(members) do each:close(1000) end
  end)

  it("makes room in the queue: max_backlog counts what waits", function()
    for _, path in ipairs({ "/room", "/room/context" }) do
      local ada = connect(path)
      ada:receive()
      ada:send_text([[
        local before = conn.backlog
        for index = 1, 5 do assert(conn:send(("x"):rep(100000))) end
        local compressed = conn.backlog - before
        conn:send(("y"):rep(2000), { compress = false })
        return compressed < 2000 and conn.backlog - before - compressed]])
      for _ = 1, 5 do assert.equal(100000, #ada:receive()) end
      assert.equal(2000, #ada:receive())
      assert.equal("= 2004", (ada:receive()))
      ada:close(1000)
    end
  end)

  it("reaches connections of other workers, one by one", function()
    local ada = connect("/room?name=to")
    ada:receive()
    local bobs = {}
    for index = 1, 3 * app.workers do
      bobs[index] = connect("/room")
      bobs[index]:receive()
      bobs[index]:send_text(("tw.send(ids:get 'to', ('%d'):rep(400))"):format(index % 10))
      assert.equal(tostring(index % 10):rep(400), (ada:receive()))
    end
    assert.equal(#bobs, ada.compressed)
    ada:close(1000)
  end)

  describe("with a context", function()
    it("makes a message that was sent before very short", function()
      local ada = connect("/context")
      local text = text_of(900)
      ada:ask(text)
      local first = ada.bytes
      for _ = 1, 5 do assert.equal(text, (ada:ask(text))) end
      assert.equal(6, ada.compressed)
      assert.is_true(ada.bytes - first < 5 * 40)
    end)

    it("decompresses what refers to earlier messages", function()
      local ada = connect("/context")
      ada:send_compressed("\xf2\x48\xcd\xc9\xc9\x07\x00")
      ada:send_text("between")
      ada:send_compressed("\xf2\x00\x11\x00\x00") -- the second example of RFC 7692, 7.2.3.2
      assert.same({ "Hello", "between", "Hello" }, ada:receive_many(3))
    end)

    it("keeps it right where messages are dropped, or are no shorter", function()
      local ada = connect("/slow")
      ada:receive()
      ada.stream:pause()
      ada:send_text([[
        local sent, dropped, number = 0, 0, 0
        local function send(text)
          number = number + 1
          local ok = conn:send(number .. " " .. text)
          if ok then sent = sent + 1 else dropped = dropped + 1 end
          return ok
        end
        local function noise() -- which becomes a little shorter
          local bytes = {}
          for index = 1, 1500 do bytes[index] = string.char(math.random(32, 95)) end
          return table.concat(bytes)
        end
        local large, last = noise():rep(40), ""
        while dropped < 200 do
          for _ = 1, 10 do
            local new = noise()
            send("text" .. last .. new) -- refers to the last one, which may have been dropped
            conn:send(large, { compress = false })
            last = new
          end
          tw.sleep(0.001)
        end
        while conn.backlog > 0 do tw.sleep(0.001) end
        send("text" .. last) -- refers to what was dropped, if anything may
        conn:send("end " .. sent .. " " .. last, { compress = false })
      ]])
      loop.wait_until(function() return stats().messages_dropped >= 200 end)
      ada.stream:catch_up()
      local count, last, text, before = 0, 0
      repeat
        before, text = text or "", assert(ada:receive(30))
        local number = tonumber(text:match("^(%d+) text"))
        if number then
          count = count + 1
          assert.is_true(number > last)
          last = number
        end
      until text:find("^end")
      assert.equal(tostring(count), text:match("^end (%d+)"))
      assert.equal(text:match("^end %d+ (.*)$"), before:match("^%d+ text(.*)$"))
      assert.is_true(ada.compressed > 0)
    end)

    it("is not kept for messages that newer ones may replace", function()
      local ada = connect("/conflate")
      assert.equal("; server_no_context_takeover", ada.deflate.answer)
      ada:receive()
      ada.stream:pause()
      local before = stats().messages_replaced
      ada:send_text([[
        local noise = {}
        for index = 1, 30000 do noise[index] = string.char(math.random(0, 127)) end
        noise = table.concat(noise)
        repeat
          conn:send(noise, { compress = false })
          tw.sleep(0)
        until conn.backlog > 60000
        for index = 1, 5 do
          conn:send("a" .. index .. (" text"):rep(100), { key = "a" })
          tw.send(conn.id, "b" .. index .. (" text"):rep(100), { key = "b" })
          tw.room("all"):broadcast("c" .. index .. (" text"):rep(100), { key = "c" })
        end
        conn:send("end")]])
      assert.is_truthy(loop.wait_until(function()
        return stats().messages_replaced == before + 12
      end))
      ada.stream:catch_up()
      local seen = {}
      repeat
        local text = assert(ada:receive(30))
        seen[#seen + 1] = text:match("^[abc]%d")
      until text == "end"
      assert.same({ "a5", "b5", "c5" }, seen)
    end)
  end)

  it("serves many connections at once, each with its own messages", function()
    math.randomseed(tonumber(os.getenv("TIDEWIRE_TEST_SEED") or 20240607))
    local offers = { "", "; client_max_window_bits", "; server_max_window_bits=9",
      "; server_no_context_takeover", "; client_no_context_takeover; server_max_window_bits=12" }
    local peers = {}
    for index = 1, 200 do
      peers[index] = connect(index % 2 == 0 and "/echo" or "/context", offers[index % 5 + 1])
      peers[index].sent = {}
    end
    for round = 1, 6 do
      for index, each in ipairs(peers) do
        local text = ("%d/%d "):format(index, round) .. text_of(math.random(0, 700), index)
        each.sent[round] = text
        local kind = math.random(4)
        local payload = kind == 1 and deflate.stored(text) or deflate.fixed(text)
        if kind == 4 then
          each:send_text(text)
        elseif kind == 3 then
          local cut = math.random(0, #payload)
          each:send_frame({ payload = payload:sub(1, cut), fin = false, rsv = 4 })
          each:send_frame({ opcode = 0, payload = payload:sub(cut + 1) })
        else
          each:send_compressed(payload)
        end
      end
    end
    for _, each in ipairs(peers) do
      assert.same(each.sent, each:receive_many(6, 60))
      each:send_close(1000)
    end
    for _, each in ipairs(peers) do assert.equal(1000, (each:wait_closed())) end
  end)
end)

describe("a reload that changes compression", function()
  local function app_of(compression)
    return ([[return {
      ping_period = 0, compression = %s,
      handle_message = function(conn, message) conn:send(message) end,
    }]]):format(compression)
  end

  it("concerns new connections, and open ones keep theirs", function()
    local app <close> = server.start({ app = app_of("{ threshold = 100, context = true }") })
    local text = ("text "):rep(30)
    local function connect() return app:connect("/", { deflate = "" }) end
    local ada = connect()
    assert.equal(text, (ada:ask(text)))
    reloads.good(app, app_of("false"))
    local bob = connect()
    assert.is_nil(bob.deflate)
    assert.equal(text, (bob:ask(text)))
    ada:send_compressed(deflate.fixed(text))
    assert.equal(text, (ada:receive()))
    assert.equal(1, ada.compressed) -- the threshold is the usual one now
    assert.equal(("x"):rep(2000), (ada:ask(("x"):rep(2000))))
    assert.equal(2, ada.compressed)
    reloads.good(app, app_of("{ threshold = 1, level = 1 }"))
    assert.equal("; server_no_context_takeover; client_no_context_takeover",
      connect().deflate.answer)
    assert.equal(text, (ada:ask(text)))
    assert.equal(3, ada.compressed)
    assert.equal("plain", (bob:ask("plain")))
  end)
end)
